//! Holds the table of launches against the sources of the kernels, which needs no GPU.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[path = "../src/cuda/launch_table.rs"]
mod launch_table;

use launch_table::launches;

/// A kernel as its source declares it.
#[derive(Debug, PartialEq, Eq)]
struct Declared {
    arguments: String,
    /// The threads of its launch bounds, if it has some.
    threads: Option<u32>,
}

/// All sources, without comments and with continued lines joined.
fn sources() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cuda/kernels");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder of kernels")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|kind| kind == "cu" || kind == "cuh")
        })
        .collect();
    files.sort();
    let texts = files
        .iter()
        .map(|file| fs::read_to_string(file).expect("UTF-8"));
    let text = texts.collect::<String>().replace("\\\n", " ");
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

/// The text before a closing bracket, and the text after it.
fn until_closed(text: &str) -> (&str, &str) {
    let mut open = 1;
    let end = text.find(|c| {
        open += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        open == 0
    });
    let end = end.expect("a closing bracket");
    (&text[..end], &text[end + 1..])
}

/// The value of a sum of products of numbers and constants.
fn value(sources: &str, expression: &str) -> u32 {
    let factor = |factor: &str| {
        let factor = factor.trim();
        factor.parse().unwrap_or_else(|_| {
            let definition = format!("constexpr int {factor} = ");
            let (_, rest) = sources.split_once(&definition).expect(factor);
            value(sources, rest.split(';').next().expect("an end"))
        })
    };
    let product = |terms: &str| terms.split('*').map(factor).product::<u32>();
    expression.split('+').map(product).sum()
}

fn letter(argument: &str) -> char {
    match argument.trim() {
        pointer if pointer.contains('*') => 'p',
        long if long.starts_with("long long ") => 'l',
        int if int.starts_with("int ") => 'i',
        float if float.starts_with("float ") => 'f',
        other => panic!("an argument of a kind that no launch has: {other}"),
    }
}

/// The kernels by name. A kernel called `NAME` is of the macro before it, and stands for all its
/// uses.
fn declared() -> BTreeMap<String, Declared> {
    let sources = sources();
    let mut found = BTreeMap::new();
    let mut parts = sources.split("extern \"C\" __global__ void ");
    let mut before = parts.next().expect("a beginning");
    for part in parts {
        let (threads, rest) = match part.strip_prefix("__launch_bounds__(") {
            Some(bounds) => {
                let (bounds, rest) = until_closed(bounds);
                let threads = bounds.split(',').next().expect("threads");
                (Some(value(&sources, threads)), rest)
            }
            None => (None, part),
        };
        let (name, rest) = rest.split_once('(').expect("arguments");
        let (arguments, _) = until_closed(rest);
        let arguments: String = arguments.split(',').map(letter).collect();
        let names = match name.trim() {
            "NAME" => {
                let (_, definition) = before.rsplit_once("#define ").expect("a macro");
                let (name, _) = definition.split_once('(').expect("its arguments");
                let uses = sources.lines().filter_map(|line| {
                    let arguments = line.strip_prefix(name)?.strip_prefix('(')?;
                    arguments.split(',').next()
                });
                uses.map(str::to_owned).collect()
            }
            name => vec![name.to_owned()],
        };
        for name in names {
            let arguments = arguments.clone();
            found.insert(name, Declared { arguments, threads });
        }
        before = part;
    }
    found
}

#[test]
fn the_table_launches_every_kernel_as_its_source_declares_it() {
    let declared = declared();
    let mut table = BTreeMap::new();
    for launch in launches() {
        assert!(launch.threads.is_multiple_of(32), "{}", launch.name);
        let bounds = declared.get(launch.name).and_then(|kernel| kernel.threads);
        let entry = Declared {
            arguments: launch.arguments.to_owned(),
            threads: bounds.map(|_| launch.threads),
        };
        let twice = table.insert(launch.name.to_owned(), entry);
        assert_eq!(twice, None, "{}", launch.name);
    }
    assert!(table.len() > 30);
    assert_eq!(table, declared);
}

#[test]
fn a_launch_takes_no_more_shared_memory_than_a_block_can_have() {
    for launch in launches() {
        // Hopper's limit, which is the largest.
        assert!(launch.shared <= 227 << 10, "{}", launch.name);
    }
}
