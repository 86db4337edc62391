//! A Hub on this machine: repositories in memory, served by the Hub's addresses.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The commit that every repository is at.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The path with its query.
    pub(crate) path: String,
    /// The headers by their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    /// The number in `Range: bytes=NUMBER-`.
    pub(crate) fn range(&self) -> Option<usize> {
        let range = self.headers.get("range")?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse().ok()
    }

    pub(crate) fn authorization(&self) -> Option<&str> {
        self.headers.get("authorization").map(String::as_str)
    }
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) sent: Sent,
}

/// How the body is sent.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    /// All of it.
    Whole,
    /// So many bytes, and then the connection closes.
    Cut(usize),
    /// So many bytes, and one more once the gate is open; then nothing until the client is gone.
    Held(usize, Gate),
}

impl Reply {
    pub(crate) fn of(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            sent: Sent::Whole,
        }
    }

    pub(crate) fn redirect(to: String) -> Self {
        let mut reply = Self::of(302, "");
        reply.headers.push(("location", to));
        reply
    }

    pub(crate) fn sent(self, sent: Sent) -> Self {
        Self { sent, ..self }
    }
}

/// Holds an answer back until the test opens it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        let (open, changed) = &*self.0;
        *open.lock().unwrap() = true;
        changed.notify_all();
    }

    fn wait(&self) {
        let (open, changed) = &*self.0;
        drop(changed.wait_while(open.lock().unwrap(), |open| !*open));
    }
}

/// A server that runs until the test's process ends.
pub(crate) struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (log.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), kept, answer) = (stream, kept.clone(), answer.clone()) else {
                    return;
                };
                std::thread::spawn(move || {
                    // A client that goes away is what some tests are about.
                    let _ = serve(stream, &kept, &*answer);
                });
            }
        });
        Self { address, log }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far whose paths hold `part`.
    pub(crate) fn requests(&self, part: &str) -> Vec<Request> {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter(|request| request.path.contains(part))
            .cloned()
            .collect()
    }
}

fn serve(
    stream: TcpStream,
    log: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).take(1 << 16).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let request = Request { path, headers };
    log.lock().unwrap().push(request.clone());
    let reply = answer(&request);
    let mut head = format!("HTTP/1.1 {} .\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let body = &reply.body;
    head += &format!("content-length: {}\r\n\r\n", body.len());
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    match reply.sent {
        Sent::Whole => stream.write_all(body),
        Sent::Cut(first) => stream.write_all(&body[..first]),
        Sent::Held(first, gate) => {
            stream.write_all(&body[..first])?;
            gate.wait();
            stream.write_all(&body[first..=first])?;
            // Returns when the client has closed the connection.
            stream.read(&mut [0]).map(|_| ())
        }
    }
}

/// A file of a repository.
#[derive(Clone)]
struct Stored {
    bytes: Vec<u8>,
    /// The entry of the file in the listing.
    listed: Value,
}

/// Repositories in memory.
#[derive(Clone, Default)]
pub(crate) struct Repositories(BTreeMap<String, Stored>);

impl Repositories {
    /// Puts a file in large-file storage, at `OWNER/NAME/PATH`.
    pub(crate) fn add(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        let sha256 = format!("{:x}", Sha256::digest(&bytes));
        let size = bytes.len();
        let listed = json!({"size": size, "blobId": "0".repeat(40),
            "lfs": {"sha256": sha256, "size": size, "pointerSize": 134}});
        self.0.insert(path.to_owned(), Stored { bytes, listed });
    }

    /// Puts a small file, which git itself holds.
    pub(crate) fn add_small(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        let mut sha1 = Sha1::new();
        sha1.update(format!("blob {}\0", bytes.len()));
        sha1.update(&bytes);
        let listed = json!({"size": bytes.len(), "blobId": format!("{:x}", sha1.finalize())});
        self.0.insert(path.to_owned(), Stored { bytes, listed });
    }

    /// Takes a file away.
    pub(crate) fn remove(&mut self, path: &str) {
        assert!(self.0.remove(path).is_some(), "{path}");
    }

    /// Lets the list say something else of a file than what is served.
    pub(crate) fn list(&mut self, path: &str, change: impl FnOnce(&mut Value)) {
        change(&mut self.0.get_mut(path).unwrap().listed);
    }

    /// The SHA-256 in the list.
    pub(crate) fn sha256(&self, path: &str) -> String {
        let digest = &self.0[path].listed["lfs"]["sha256"];
        digest.as_str().unwrap().to_owned()
    }

    /// Serves the repositories as the Hub does.
    pub(crate) fn serve(self) -> Server {
        Server::start(move |request| self.answer(request))
    }

    /// Serves the repositories, and answers the `count` first requests for a file in another way.
    pub(crate) fn serve_at_first(
        self,
        file: &'static str,
        count: usize,
        other: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let asked = AtomicUsize::new(0);
        Server::start(move |request| {
            let reply = self.answer(request);
            if request.path.ends_with(file) && asked.fetch_add(1, Ordering::SeqCst) < count {
                other(request, reply)
            } else {
                reply
            }
        })
    }

    /// Answers as the Hub does.
    pub(crate) fn answer(&self, request: &Request) -> Reply {
        if let Some(repository) = request.path.strip_prefix("/api/models/") {
            let repository = repository.strip_suffix("?blobs=true").unwrap();
            return self.listing(repository);
        }
        let path = request.path.trim_start_matches('/');
        let stored = self
            .0
            .get(&path.replacen(&format!("resolve/{COMMIT}/"), "", 1));
        let Some(Stored { bytes, .. }) = stored else {
            return Reply::of(404, "Entry not found");
        };
        match request.range() {
            Some(from) if from < bytes.len() => {
                let mut reply = Reply::of(206, &bytes[from..]);
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                reply.headers.push(("content-range", range));
                reply
            }
            Some(_) => Reply::of(416, ""),
            None => Reply::of(200, bytes.clone()),
        }
    }

    fn listing(&self, repository: &str) -> Reply {
        let prefix = format!("{repository}/");
        let siblings: Vec<Value> = self
            .0
            .iter()
            .filter_map(|(path, stored)| {
                let mut listed = stored.listed.clone();
                listed["rfilename"] = path.strip_prefix(&prefix)?.into();
                Some(listed)
            })
            .collect();
        if siblings.is_empty() {
            return Reply::of(404, r#"{"error":"Repository not found"}"#);
        }
        let listing = json!({"id": repository, "sha": COMMIT, "siblings": siblings,
            "cardData": {"license": "apache-2.0"}});
        Reply::of(200, listing.to_string())
    }
}
