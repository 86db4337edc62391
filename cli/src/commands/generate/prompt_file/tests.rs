use super::{BadLines, Line, Sampling, read};

/// Reads a file of this name: its lines, the faults, and the notices.
fn reading(name: &str, bytes: &[u8]) -> (Result<Vec<Line>, String>, Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let short = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
    let (mut notices, mut bad) = (Vec::new(), BadLines::default());
    let lines = read(&path, &Sampling::default(), &mut notices, &mut bad);
    let faults = match bad.check() {
        Ok(()) => Vec::new(),
        Err(bad) if bad.following().is_empty() => vec![short(bad.to_string())],
        Err(bad) => bad.following().into_iter().map(short).collect(),
    };
    let lines = lines.map_err(|error| short(error.to_string()));
    (lines, faults, notices.into_iter().map(short).collect())
}

#[track_caller]
fn lines(name: &str, bytes: &[u8]) -> Vec<Line> {
    let (lines, faults, _) = reading(name, bytes);
    assert_eq!(faults, [""; 0]);
    lines.unwrap()
}

#[track_caller]
fn prompts(name: &str, bytes: &[u8]) -> Vec<String> {
    let lines = lines(name, bytes);
    lines.into_iter().map(|line| line.prompt).collect()
}

fn refusal(name: &str, bytes: &[u8]) -> String {
    let refused = reading(name, bytes).0.unwrap_err();
    assert!(refused.starts_with(name), "{refused}");
    assert!(!refused.contains('\n'), "{refused}");
    refused
}

#[test]
fn text_has_a_prompt_on_each_line() {
    let text = "\u{feff}a fox \r\n\r\n# a remark\n  \n  \"quoted\"\nlast 🦊".as_bytes();
    let found = lines("p.txt", text);
    let prompts: Vec<&str> = found.iter().map(|line| line.prompt.as_str()).collect();
    assert_eq!(prompts, ["a fox", "\"quoted\"", "last 🦊"]);
    assert!(found[1].origin.ends_with("p.txt:5"), "{}", found[1].origin);
    for nothing in [&b""[..], b"# only\n\n", b"\xef\xbb\xbf"] {
        assert!(refusal("p.txt", nothing).contains("holds no prompt"));
    }
    assert!(refusal("p.json", b"[]").contains("holds no prompt"));
}

#[test]
fn lines_end_as_any_system_ends_them() {
    for text in [
        "a red circle\ra blue square\r",
        "a red circle\r\na blue square",
        "\u{feff}a red circle\n\u{feff}a blue square\n",
        "a red circle\u{2028}a blue square",
    ] {
        let found = prompts("p.txt", text.as_bytes());
        assert_eq!(found, ["a red circle", "a blue square"], "{text:?}");
    }
    let json = "\u{feff}{\"prompt\": \"a\"}\r{\"prompt\": \"b\"}\r";
    assert_eq!(prompts("p.jsonl", json.as_bytes()), ["a", "b"]);
    let wide = |text: &str| -> Vec<u8> {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        units.collect()
    };
    let text = wide("\u{feff}a fox\r\n猫\r\n");
    assert_eq!(prompts("p.txt", &text), ["a fox", "猫"]);
    let json = wide("\u{feff}{\"prompt\": \"猫\"}\r\n");
    assert_eq!(prompts("P.JSONL", &json), ["猫"]);
}

#[test]
fn json_is_read_in_every_arrangement() {
    let list = b"[\n{\"prompt\": \"a\", \"seed\": 1},\n{\"prompt\": \"b\", \"seed\": 2}\n]\n";
    for name in ["p.json", "p.jsonl", "p", "p.JSON"] {
        let found = lines(name, list);
        let seeds: Vec<_> = found.iter().map(|line| line.own.seed).collect();
        assert_eq!(seeds, [Some(1), Some(2)], "{name}");
    }
    assert_eq!(prompts("p.json", b"[\"a\", \"b\"]"), ["a", "b"]);
    assert_eq!(prompts("p.json", b"{\n\"prompt\": \"a\"\n}"), ["a"]);
    let objects = b"{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}";
    assert_eq!(prompts("p.json", objects), ["a", "b"]);
    assert_eq!(prompts("prompts", b"a fox\na cat"), ["a fox", "a cat"]);
}

#[test]
fn other_forms_are_refused_with_the_forms_that_are_read() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff";
    for (name, bytes, part) in [
        ("lines.json.txt", &b"{\"prompt\": \"a\"}\n"[..], "JSON"),
        ("p.jsonl.txt", b"\n{\"prompt\": \"a\"}\n", "JSON"),
        ("p.txt", b"[\n{\"prompt\": \"a\"}\n]", "JSON"),
        ("p.csv", b"prompt,seed\na,1\n", "CSV"),
        ("P.CSV", b"prompt,seed\na,1\n", "CSV"),
        ("p.tsv", b"a\tb", "TSV"),
        ("p.md", b"- a\n- b", "Markdown"),
        ("p.yaml", b"- prompt: a", "YAML"),
        ("p.yml", b"a", "YAML"),
        ("p.toml", b"prompt = \"a\"", "TOML"),
        ("p.txt", b"prompt,seed\na,1\n", "CSV"),
        ("p.txt", b"---\ntitle: x\n---\na fox\n", "front matter"),
        ("p.txt", b"- a fox\n- a cat\n", "list"),
        ("prompts", b"prompt: a fox\n", "YAML"),
        ("p.txt", b"a fox --ar 16:9\n", "--ar"),
        ("p.txt", png, "PNG"),
        ("p.jsonl", png, "PNG"),
        ("image.png", png, "PNG"),
        ("prompts.zip", b"PK\x03\x04\0\xff", "archive"),
        ("p", b"PK\x03\x04\0\xff", "ZIP"),
    ] {
        let refused = refusal(name, bytes);
        assert!(refused.contains(part), "{refused}");
        assert!(
            refused.contains(".jsonl") && refused.contains(".txt"),
            "{refused}"
        );
    }
}

#[test]
fn json_lines_have_fields() {
    let text = b"{\"prompt\": \"a\", \"width\": 50, \"seed\": 18446744073709551615}\r\n\n\
        {\"prompt\":\"# b\",\"negative_prompt\":\"n\",\"height\":32,\"steps\":4,\
        \"cfg_scale\":1,\"output\":\"o.png\"}";
    let (found, _, notices) = reading("p.jsonl", text);
    let found = found.unwrap();
    assert_eq!(found[0].own.width, Some(48));
    assert_eq!(found[0].own.seed, Some(u64::MAX));
    let notice = "p.jsonl:1: `width` 50 is not a multiple of 16; using 48";
    assert_eq!(notices, [notice]);
    assert_eq!((found[1].prompt.as_str(), found[1].number), ("# b", 3));
    assert_eq!(found[1].own.cfg_scale, Some(1.0));
    assert_eq!(found[1].own.output.as_deref(), Some("o.png".as_ref()));
}

#[test]
fn wrong_lines_are_named() {
    for (line, part) in [
        ("{\"prompt\": \"a\", \"stepz\": 3}", "`stepz`: `steps`"),
        ("{\"prompt\": \"a\", \"cfg\": 3}", "`cfg`: `cfg_scale`"),
        ("{\"steps\": 3}", "no `prompt`"),
        (
            "{\"promt\": \"a\"}",
            "no `prompt`; unknown field `promt`: `prompt`",
        ),
        ("{\"prompt\": 3}", "`prompt` must be a string"),
        ("{\"prompt\": null}", "`prompt` must be a string"),
        ("{\"prompt\": [\"a\"]}", "`prompt` must be a string"),
        ("{\"prompt\": \"a\", \"steps\": 1}", "`steps` must be"),
        ("{\"prompt\": \"a\", \"steps\": 2.5}", "`steps` must be"),
        ("{\"prompt\": \"a\", \"steps\": \"4\"}", "`steps` must be"),
        ("{\"prompt\": \"a\", \"seed\": -1}", "`seed` must be"),
        ("{\"prompt\": \"a\", \"width\": 9000}", "`width` must be"),
        (
            "{\"prompt\": \"a\", \"cfg_scale\": \"x\"}",
            "`cfg_scale` must be",
        ),
        (
            "{\"prompt\": \"a\", \"cfg_scale\": 0}",
            "`cfg_scale` must be",
        ),
        (
            "{\"prompt\": \"a\", \"prompt\": \"b\"}",
            "`prompt` is given twice",
        ),
        (
            "{\"prompt\": \"a\", \"seed\": 1, \"seed\": 1}",
            "`seed` is given twice",
        ),
        ("{\"prompt\": \"a\\u0000\"}", "NUL"),
        ("{\"prompt\": \"a\"", "no JSON object"),
        ("{\"prompt\": \"a\"},", "comma"),
        ("{\"prompt\": \"a\",}", "trailing comma"),
        (
            "{\"1\": {}, \"2\": {}, \"3\": {}, \"4\": {}}",
            "; and 1 more",
        ),
        ("// a remark", "remark"),
        ("[1]", "no JSON object"),
        ("12", "no JSON object"),
    ] {
        let text = format!("{{\"prompt\": \"ok\"}}\n{line}\n");
        let (_, faults, _) = reading("p.jsonl", text.as_bytes());
        let [fault] = faults.as_slice() else {
            panic!("{line}: {faults:?}")
        };
        assert!(fault.starts_with("p.jsonl:2: "), "{fault}");
        assert!(fault.contains(part), "{fault}");
        assert!(!fault.contains('\n'), "{fault}");
    }
}

#[test]
fn all_wrong_lines_are_told() {
    let text = b"{\"prompt\": \"ok\"}\n{\"promt\": \"a\"}\nfox\n\n{\"prompt\": 3, \"seed\": -1}\n";
    let (found, faults, _) = reading("p.jsonl", text);
    assert_eq!(found.unwrap().len(), 1);
    assert_eq!(faults.len(), 3, "{faults:?}");
    for (fault, start) in faults
        .iter()
        .zip(["p.jsonl:2: ", "p.jsonl:3: ", "p.jsonl:5: "])
    {
        assert!(fault.starts_with(start), "{fault}");
    }
    assert!(faults[2].contains("`prompt` must be") && faults[2].contains("`seed` must be"));
    let (_, faults, _) = reading("p.txt", b"ok\n\xff\n\xe9t\xe9\n");
    assert_eq!(faults, ["p.txt:2: is not UTF-8", "p.txt:3: is not UTF-8"]);
    let (_, faults, _) = reading("p.txt", b"ok\na\0b\n\n\0\n");
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_eq!(faults[1], "p.txt:4: holds a NUL character");
    let (_, faults, _) = reading("p.json", b"[{\"prompt\": 1},\n{\"seed\": 2},\n{]");
    assert_eq!(faults.len(), 3, "{faults:?}");
}
