//! The house rules that no compiler checks: who may use whom, which crate lives in which folder, and what is never written.
//!
//! The files are read as text, without comments, strings and character literals. Paths that count are `crate::x`, also
//! inside a group (`crate::{x, y}`), and `super::` where it leads up to the root of the crate.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

/// From top to bottom. A folder may use what stands in a lower line; those in one line do not know each other.
const LINES: [&[&str]; 8] = [
    &["node"],
    &["api"],
    &["task"],
    &["artifact", "guild", "discovery", "economy"],
    &["execution", "network", "storage", "proof"],
    &["dag"],
    &["document"],
    &["identity"],
];
/// Any may use them; they themselves use only what is named.
const LEAVES: [(&str, &[&str]); 2] = [("config", &["document", "identity"]), ("telemetry", &[])];
/// The vocabulary between a node and whoever looks at it knows less than its line would let it. The journal's records are
/// the storage's: a decided exception.
const API_KNOWS: &[&str] = &["document", "identity", "storage"];

/// Crates that live in one folder.
const HOMES: [(&str, &str); 6] = [
    ("wasmtime", "src/execution"),
    ("libp2p", "src/network"),
    ("rusqlite", "src/storage"),
    ("ratatui", "ui/console"),
    ("crossterm", "ui/console"),
    ("anyhow", "ui"),
];

/// What is never written outside tests, as tokens; and where it is allowed all the same.
const NEVER: [(&[&str], &str); 5] = [
    (&["println", "!"], "ui/cli"),
    (&["eprintln", "!"], "ui/cli"),
    (&["dbg", "!"], "nowhere"),
    (&["unbounded_channel"], "nowhere"),
    (&["let", "_", "="], "nowhere"),
];

/// Of these, what tests and benches do not write either.
const NOT_EVEN_IN_TESTS: [&str; 2] = ["dbg", "unbounded_channel"];

/// One word or sign of the code and the line it stands in.
#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// The source with comments and the insides of literals blanked, line ends kept.
fn blanked(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let after_word = out.chars().last().is_some_and(|c| c.is_alphanumeric() || c == '_');
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            string(rest, 1)
        } else if let Some(hashes) = raw_string(rest).filter(|_| !after_word) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = rest.find('"').map_or(rest.len(), |at| at + 1);
            rest[open..].find(&close).map_or(rest.len(), |at| open + at + close.len())
        } else if first == '\'' {
            character(rest)
        } else {
            0
        };
        if skipped == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            // A blank, so that what stood around it does not grow together; and every line end.
            out.push(' ');
            out.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
            rest = &rest[skipped..];
        }
    }
    out
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn string(text: &str, start: usize) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(start) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// How many `#` a raw string (also a byte or C string) opens with.
fn raw_string(text: &str) -> Option<usize> {
    let opened = ["br", "cr", "r"].into_iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = opened.len() - opened.trim_start_matches('#').len();
    opened[hashes..].starts_with('"').then_some(hashes)
}

/// The length of a character literal; 0 for the tick of a lifetime.
fn character(text: &str) -> usize {
    let mut inside = text.char_indices().skip(1);
    match inside.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(0, |at| 3 + at + 1),
        Some(_) => inside.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

/// Words, numbers, `::` and single signs.
fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                word => word,
            };
            found.push(Token { text: &rest[..length], line: index + 1 });
            rest = rest[length..].trim_start();
        }
    }
    found
}

/// What stands directly after `crate::` or as many `super::` as lead to the root: names of top-level modules.
fn uses<'a>(path: &str, tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut found = Vec::new();
    // Where `mod x {` opened, in braces; a file's own place is its depth below the root.
    let (mut braces, mut inline) = (0usize, Vec::new());
    let depth = depth(path);
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].text {
            "{" => {
                braces += 1;
                if at >= 2 && is(at - 2, "mod") {
                    inline.push(braces);
                }
            }
            "}" => {
                if inline.last() == Some(&braces) {
                    inline.pop();
                }
                braces = braces.saturating_sub(1);
            }
            "crate" if is(at + 1, "::") => names(tokens, at + 2, &mut found),
            "super" if is(at + 1, "::") => {
                let mut supers = 1;
                while is(at + 2, "super") && is(at + 3, "::") {
                    (supers, at) = (supers + 1, at + 2);
                }
                if supers >= depth + inline.len() {
                    names(tokens, at + 2, &mut found);
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// `src/task/mod.rs` is one module below the root, `src/task/find.rs` two.
fn depth(path: &str) -> usize {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    inside.split('/').filter(|part| *part != "mod" && *part != "lib").count()
}

/// The name at `at`, or the first names of each branch of a group.
fn names<'a>(tokens: &[Token<'a>], at: usize, found: &mut Vec<Token<'a>>) {
    let Some(first) = tokens.get(at) else { return };
    if first.text != "{" {
        found.push(*first);
        return;
    }
    let (mut level, mut at_start) = (0usize, false);
    for token in &tokens[at..] {
        match token.text {
            "{" => (level, at_start) = (level + 1, level == 0),
            "}" if level == 1 => return,
            "}" => level -= 1,
            "," => at_start = level == 1,
            _ if at_start => {
                found.push(*token);
                at_start = false;
            }
            _ => {}
        }
    }
}

/// Without what stands behind `#[cfg(test)]`.
fn without_tests<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let marked =
            mark.iter().enumerate().all(|(i, text)| tokens.get(at + i).is_some_and(|t| t.text == *text));
        if !marked {
            kept.push(tokens[at]);
            at += 1;
            continue;
        }
        // To the end of the item: its closing brace, or a semicolon before any brace.
        let mut level = 0usize;
        at += mark.len();
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token.text {
                "{" => level += 1,
                "}" if level <= 1 => break,
                "}" => level -= 1,
                ";" if level == 0 => break,
                _ => {}
            }
        }
    }
    kept
}

fn folder(path: &str) -> &str {
    let inside = path.trim_start_matches("src/");
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
}

fn line_of(folder: &str) -> Option<usize> {
    LINES.iter().position(|line| line.contains(&folder))
}

fn leaf(folder: &str) -> Option<&'static [&'static str]> {
    LEAVES.into_iter().find(|(name, _)| *name == folder).map(|(_, knows)| knows)
}

/// Why `from` may not use `to`.
fn objection(from: &str, to: &str) -> Option<String> {
    if from == to || from == "lib" {
        return None;
    }
    let placed = |folder| line_of(folder).is_some() || leaf(folder).is_some();
    if !placed(from) || !placed(to) {
        return Some("one of them is in no line of the house".to_owned());
    }
    if let Some(knows) = leaf(from) {
        return (!knows.contains(&to)).then(|| "a leaf knows nobody above it".to_owned());
    }
    if leaf(to).is_some() {
        return None;
    }
    if from == "api" && !API_KNOWS.contains(&to) {
        return Some(format!("api knows only {}", API_KNOWS.join(", ")));
    }
    match line_of(from).cmp(&line_of(to)) {
        Ordering::Less => None,
        Ordering::Equal => Some("that arrow points sideways".to_owned()),
        Ordering::Greater => Some("that arrow points up".to_owned()),
    }
}

fn arrow_faults(path: &str, source: &str) -> Vec<String> {
    let code = blanked(source);
    let from = folder(path);
    let fault = |to: &Token<'_>| {
        objection(from, to.text).map(|why| format!("{path}:{}: {from} uses {}: {why}", to.line, to.text))
    };
    uses(path, &tokens(&code)).iter().filter_map(fault).collect()
}

fn home_faults(path: &str, source: &str) -> Vec<String> {
    let code = blanked(source);
    let tokens = tokens(&code);
    let mut faults = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let back = |steps| at.checked_sub(steps).and_then(|at| tokens.get(at)).map_or("", |token| token.text);
        let after = tokens.get(at + 1).map_or("", |token| token.text);
        // A crate's name opens a path (`::x::y` too) or stands behind `use`; a field or a module of that name does neither.
        let inner = back(1) == "::" && back(2).ends_with(|c: char| c.is_alphanumeric() || "_>".contains(c));
        let is_path = (after == "::" && (!inner || back(2) == "use")) || ["use", "crate"].contains(&back(1));
        // `wasmtime_wasi` is of the same house as `wasmtime`.
        let home = HOMES.into_iter().find(|(name, _)| {
            token.text.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        });
        if let Some((_, home)) = home.filter(|(_, home)| is_path && !is_inside(path, home)) {
            faults.push(format!("{path}:{}: {} is used only in {home}", token.line, token.text));
        }
    }
    faults
}

fn habit_faults(path: &str, source: &str) -> Vec<String> {
    let is_test = path.split('/').any(|part| ["tests", "tests.rs", "benches"].contains(&part));
    let code = blanked(source);
    let tokens = if is_test { tokens(&code) } else { without_tests(&tokens(&code)) };
    let mut faults = Vec::new();
    let rules = NEVER.into_iter().filter(|(words, allowed)| {
        !is_inside(path, allowed) && (!is_test || NOT_EVEN_IN_TESTS.contains(&words[0]))
    });
    for (words, _) in rules {
        for found in tokens.windows(words.len()) {
            if found.iter().map(|token| token.text).eq(words.iter().copied()) {
                faults.push(format!("{path}:{}: {} has no place here", found[0].line, words.join(" ")));
            }
        }
    }
    faults
}

fn is_inside(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Every Rust file of the repository's own folders, by its path in the repository.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "ui", "tests", "benches"] {
        walk(&root.join(folder), &mut found);
    }
    found.sort();
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

#[track_caller]
fn none(check: fn(&str, &str) -> Vec<String>, folders: &[&str]) {
    let mut files = sources();
    files.retain(|(path, _)| folders.iter().any(|folder| is_inside(path, folder)));
    assert!(files.len() > 5, "only {} files were read under {folders:?}", files.len());
    let faults: Vec<_> = files.iter().flat_map(|(path, source)| check(path, source)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn arrows_point_down_only() {
    none(arrow_faults, &["src"]);
}

#[test]
fn each_heavy_crate_is_used_in_one_folder() {
    none(home_faults, &["src", "ui"]);
}

#[test]
fn nothing_prints_forgets_a_result_or_queues_without_bound() {
    none(habit_faults, &["src", "ui", "tests", "benches"]);
}

#[test]
fn every_folder_of_the_source_has_its_line() {
    for (path, _) in sources().iter().filter(|(path, _)| path.starts_with("src/")) {
        let folder = folder(path);
        let known = folder == "lib" || line_of(folder).is_some() || leaf(folder).is_some();
        assert!(known, "{path}: {folder} is in no line of the house; give it one in this file");
    }
}

/// The checkers themselves, on sources that break the rules.
mod checkers {
    use super::*;

    #[track_caller]
    fn found(faults: Vec<String>, expected: &[&str]) {
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, part) in faults.iter().zip(expected) {
            assert!(fault.contains(part), "{fault:?} does not say {part:?}");
        }
    }

    #[test]
    fn an_arrow_up_is_found_with_its_line() {
        found(
            arrow_faults("src/storage/mod.rs", "\n\nuse crate::task::Tasks;"),
            &["src/storage/mod.rs:3: storage uses task"],
        );
        found(arrow_faults("src/identity/did.rs", "use crate::document::Cid;"), &["points up"]);
        found(arrow_faults("src/task/mod.rs", "pub use crate::api::Event;"), &["points up"]);
        found(arrow_faults("src/api/mod.rs", "use crate::node::Node;"), &["api knows only"]);
        found(arrow_faults("src/document/mod.rs", "use crate::execution::Job;"), &["points up"]);
    }

    #[test]
    fn an_arrow_sideways_is_found() {
        for (from, to) in
            [("execution", "network"), ("network", "storage"), ("storage", "execution"), ("guild", "economy")]
        {
            let source = format!("use crate::{to}::Thing;");
            found(arrow_faults(&format!("src/{from}/x.rs"), &source), &["points sideways"]);
        }
    }

    #[test]
    fn arrows_down_and_to_the_leaves_are_fine() {
        let down =
            "use crate::document::A; use crate::identity::B; use crate::telemetry::C; use crate::config::D;";
        for path in
            ["src/task/x.rs", "src/network/worker/mod.rs", "src/execution/mod.rs", "src/api/server.rs"]
        {
            found(arrow_faults(path, down), &[]);
        }
        found(arrow_faults("src/node.rs", "use crate::{api, task::T, storage::{A, B}, network};"), &[]);
        found(arrow_faults("src/api/mod.rs", "pub use crate::storage::Event;"), &[]);
        found(arrow_faults("src/storage/query.rs", "use crate::storage::schema;"), &[]);
    }

    #[test]
    fn a_leaf_knows_nobody_above_it() {
        found(arrow_faults("src/config.rs", "use crate::document::Credits;"), &[]);
        found(arrow_faults("src/config.rs", "use crate::storage::DataDir;"), &["leaf"]);
        found(arrow_faults("src/telemetry/mod.rs", "use crate::document::Untrusted;"), &["leaf"]);
    }

    #[test]
    fn the_api_knows_documents_and_the_records_of_the_storage_and_no_engine() {
        for engine in ["network", "execution", "task"] {
            found(arrow_faults("src/api/x.rs", &format!("use crate::{engine}::X;")), &["api knows only"]);
        }
    }

    #[test]
    fn paths_in_code_in_groups_in_macros_and_in_tests_count() {
        let up = "storage uses node";
        let path = "src/storage/x.rs";
        found(arrow_faults(path, "fn f() { crate::node::start() }"), &[up]);
        found(arrow_faults(path, "use crate::{document::{A, node}, node::B, identity};"), &[up]);
        found(arrow_faults(path, "use crate::{\n  document,\n  node,\n};"), &[":3: storage uses node"]);
        found(arrow_faults(path, "m!(crate::node::X)"), &[up]);
        found(arrow_faults(path, "use crate :: node :: X;"), &[up]);
        found(arrow_faults(path, "#[cfg(test)]\nmod tests { use crate::node::X; }"), &[up]);
        found(arrow_faults("src/storage/tests/mod.rs", "use crate::node::X;"), &[up]);
    }

    #[test]
    fn a_way_round_by_super_is_found() {
        found(arrow_faults("src/storage/mod.rs", "use super::node::X;"), &["storage uses node"]);
        found(arrow_faults("src/storage/x.rs", "use super::node::X;"), &[]);
        found(arrow_faults("src/storage/x.rs", "use super::super::node::X;"), &["storage uses node"]);
        found(arrow_faults("src/storage/a/x.rs", "use super::super::{node::X};"), &[]);
        found(arrow_faults("src/storage/x.rs", "mod tests { use super::super::node::X; }"), &[]);
        found(
            arrow_faults("src/storage/x.rs", "mod tests { use super::super::super::node::X; }"),
            &["storage uses node"],
        );
        found(
            arrow_faults("src/storage/x.rs", "mod tests { fn f() {} }\nuse super::super::node::X;"),
            &["storage uses node"],
        );
    }

    #[test]
    fn a_folder_nobody_has_placed_is_found() {
        found(arrow_faults("src/misc/mod.rs", "use crate::document::X;"), &["no line of the house"]);
        found(arrow_faults("src/node/mod.rs", "use crate::misc::X;"), &["no line of the house"]);
    }

    #[test]
    fn comments_strings_and_lifetimes_are_no_code() {
        let source = r####"
            // use crate::node::X;
            /* use crate::node::X; /* nested */ use crate::node::X; */
            /// [`crate::node`]
            const A: &str = "use crate::node::X; \" crate::node::X";
            const B: &str = r#"crate::node "quoted" crate::node"#;
            const C: &[u8] = b"crate::node"; const D: char = '"'; const E: char = '\''; const F: char = '\u{22}';
            fn f<'a>(x: &'a str) -> &'a str { x }
            use crate::node::Real;
        "####;
        found(arrow_faults("src/storage/x.rs", source), &["src/storage/x.rs:9: storage uses node"]);
    }

    #[test]
    fn a_crate_outside_its_folder_is_found() {
        let cases = [
            ("src/task/x.rs", "use wasmtime::Engine;", "src/execution"),
            ("src/node/mod.rs", "fn f(x: wasmtime_wasi::Ctx) {}", "src/execution"),
            ("src/task/x.rs", "use ::libp2p::PeerId;", "src/network"),
            ("src/document/x.rs", "use libp2p_identity::PeerId;", "src/network"),
            ("src/node/mod.rs", "rusqlite::Connection::open()", "src/storage"),
            ("ui/cli/x.rs", "use ratatui::Frame;", "ui/console"),
            ("ui/main.rs", "use crossterm::event;", "ui/console"),
            ("src/api/x.rs", "use anyhow::Result;", "ui"),
            ("src/task/x.rs", "#[cfg(test)]\nmod tests { use wasmtime::Engine; }", "src/execution"),
            ("src/task/x.rs", "use wasmtime as w;", "src/execution"),
        ];
        for (path, source, home) in cases {
            found(home_faults(path, source), &[&format!("is used only in {home}")]);
        }
    }

    #[test]
    fn a_crate_at_home_and_a_name_that_only_looks_like_one_are_fine() {
        let cases = [
            ("src/execution/engine.rs", "use wasmtime::Engine;"),
            ("src/network/tests/mod.rs", "use libp2p::PeerId;"),
            ("ui/console/view.rs", "use ratatui::Frame; use crossterm::event; use anyhow::Result;"),
            (
                "src/document/x.rs",
                "let engine = \"wasmtime\"; let x = versions.wasmtime; // wasmtime::Engine",
            ),
            ("src/api/x.rs", "struct Versions { libp2p: String }"),
        ];
        for (path, source) in cases {
            found(home_faults(path, source), &[]);
        }
    }

    #[test]
    fn a_bad_habit_is_found() {
        let cases = [
            ("src/node/mod.rs", "println!(\"x\")", "println !"),
            ("ui/main.rs", "eprintln!()", "eprintln !"),
            ("ui/console/x.rs", "std::println!()", "println !"),
            ("ui/cli/x.rs", "dbg!(x)", "dbg !"),
            ("src/task/mod.rs", "let (a, b) = mpsc::unbounded_channel();", "unbounded_channel"),
            ("ui/cli/x.rs", "let _ = f();", "let _ ="),
            ("src/task/mod.rs", "#[cfg(test)]\nmod tests { fn f() { { } } }\nfn g() { dbg!(1) }", ":3: dbg"),
            ("src/task/mod.rs", "#[cfg(test)]\nmod tests;\nfn g() { dbg!(1) }", ":3: dbg"),
            ("tests/durability.rs", "#[test]\nfn f() { mpsc::unbounded_channel() }", ":2: unbounded_channel"),
        ];
        for (path, source, what) in cases {
            found(habit_faults(path, source), &[what]);
        }
    }

    #[test]
    fn the_command_line_prints_and_tests_may_too() {
        let cases = [
            ("ui/cli/output.rs", "println!(\"x\"); eprintln!(\"x\");"),
            (
                "src/identity/key_file.rs",
                "fn f() {}\n#[cfg(test)]\nmod tests { fn f() { if a { println!() } } }",
            ),
            ("src/network/tests/garbage.rs", "let _ = f();"),
            ("src/task/mod.rs", "let _guard = f(); if let Some(_) = x {} writeln!(f)?; //! println!()"),
        ];
        for (path, source) in cases {
            found(habit_faults(path, source), &[]);
        }
    }
}
