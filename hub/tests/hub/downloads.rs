//! Downloads that go on where something stood in their way.

use std::fs;
use std::ops::ControlFlow;

use hub::Error;

use crate::server::{Gate, Reply, Request, Sent, Server};
use crate::tree::{TRANSFORMER, Tree, at_first, published, transformer, transformer_bytes};

#[test]
fn a_cut_connection_is_taken_up_where_it_ended() {
    let server = at_first(3, |_, reply| reply.sent(Sent::Cut(1000)));
    let tree = Tree::new();
    tree.download(&server).unwrap();
    tree.assert_whole();
    let ranges: Vec<_> = server
        .requests(TRANSFORMER)
        .iter()
        .map(Request::range)
        .collect();
    assert_eq!(ranges, [None, Some(1000), Some(2000), Some(3000)]);
}

#[test]
fn a_failed_download_is_resumed_by_the_next() {
    let server = at_first(usize::MAX, |request, reply| match request.range() {
        None => reply.sent(Sent::Cut(1000)),
        Some(_) => Reply::of(403, ""),
    });
    let tree = Tree::new();
    let error = tree.refused(&server);
    assert!(matches!(error, Error::Forbidden { .. }), "{error}");
    assert!(!tree.transformer().exists());
    let left = tree.names();
    let partial = left.iter().find(|name| name.ends_with(".part")).unwrap();
    let partial = tree.transformer().with_file_name(partial);
    assert_eq!(fs::metadata(&partial).unwrap().len(), 1000);

    let server = published().serve();
    tree.download(&server).unwrap();
    assert_eq!(server.requests(TRANSFORMER)[0].range(), Some(1000));
    tree.assert_whole();
    assert!(!partial.exists());
}

#[test]
fn a_server_without_ranges_begins_again() {
    let server = at_first(2, move |request, reply| match request.range() {
        None => reply.sent(Sent::Cut(1000)),
        Some(_) => Reply::of(200, transformer_bytes()),
    });
    let tree = Tree::new();
    tree.download(&server).unwrap();
    tree.assert_whole();
}

#[test]
fn a_cancelled_download_keeps_what_came() {
    let gate = Gate::default();
    let held = Sent::Held(1000, gate.clone());
    let server = at_first(1, move |_, reply| reply.sent(held.clone()));
    let tree = Tree::new();
    let watched = tree.download_watched(&server, None, &mut |name, done| {
        if name == TRANSFORMER && done >= 1000 {
            gate.open();
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(watched, Err(Error::Cancelled)));
    assert!(!tree.transformer().exists());
    tree.download(&server).unwrap();
    let from = server.requests(TRANSFORMER)[1].range().unwrap();
    assert!((1000..=1001).contains(&from), "{from}");
    tree.assert_whole();
}

#[test]
fn two_downloads_of_a_file_do_not_mix() {
    let (tree, published) = (Tree::new(), published());
    let digits = &published.sha256(&transformer())[..12];
    fs::create_dir_all(tree.transformer().parent().unwrap()).unwrap();
    let name = format!("{TRANSFORMER}.{digits}.part");
    let partial = fs::File::create(tree.transformer().with_file_name(name)).unwrap();
    partial.lock().unwrap();
    let server = published.serve();
    let error = tree.refused(&server);
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    drop(partial);
    tree.download(&server).unwrap();
    tree.assert_whole();
}

#[test]
fn the_token_goes_to_the_hub_and_to_no_other_host() {
    let store = published().serve();
    let (published, port) = (published(), store.port());
    let server = Server::start(move |request| {
        if request.path.contains("/resolve/") {
            // Another name of this machine is another host.
            Reply::redirect(format!("http://localhost:{port}{}", request.path))
        } else {
            published.answer(request)
        }
    });
    let tree = Tree::new();
    tree.download_with(&server, " hf_secret\n").unwrap();
    tree.assert_whole();
    let asked = server.requests("/");
    assert!(asked.len() >= 8);
    for request in asked {
        assert_eq!(request.authorization(), Some("Bearer hf_secret"));
    }
    let sent = store.requests("/");
    assert_eq!(sent.len(), 6);
    for request in sent {
        assert_eq!(request.authorization(), None, "{}", request.path);
    }
}
