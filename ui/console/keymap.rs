//! Which key does what, where. The table is data (`assets/keymap.toml`, and a file of the user's laid over it); footer, help and
//! palette are made from the same table, so they cannot drift from it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::action::Action;
use super::chord::Chord;

/// The keys as shipped.
pub const DEFAULT: &str = include_str!("../../assets/keymap.toml");

/// The places where a key can mean something; a section of the file each.
pub const CONTEXTS: [&str; 29] = [
    "global",
    "list",
    "peers",
    "guilds",
    "tasks",
    "receipts",
    "attestations",
    "events",
    "inbox",
    "log",
    "detail",
    "guild-detail",
    "task-detail",
    "receipt-detail",
    "compared-detail",
    "attestation-detail",
    "peer-detail",
    "inbox-detail",
    "form",
    "task-form",
    "filter",
    "find",
    "palette",
    "picker",
    "files",
    "replay",
    "confirm",
    "text",
    "help",
];

/// One row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// The chords to press one after the other.
    pub keys: Vec<Chord>,
    pub action: Action,
    pub desc: String,
    /// The word in the footer; not there when empty.
    pub foot: String,
}

impl Binding {
    /// The keys as people read them: `gg`, `^S`.
    pub fn keys_text(&self) -> String {
        self.keys.iter().map(Chord::to_string).collect()
    }
}

/// What the pressed chords lead to.
#[derive(Debug, PartialEq)]
pub enum Lookup<'a> {
    Found(&'a Binding),
    /// They are the beginning of longer sequences.
    Prefix,
    Nothing,
}

/// The whole table.
#[derive(Debug, Default)]
pub struct Keymap {
    sections: BTreeMap<String, Vec<Binding>>,
    /// What was wrong with the user's file, one sentence each.
    pub problems: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    on: On,
    run: String,
    #[serde(default)]
    desc: String,
    #[serde(default)]
    foot: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum On {
    One(String),
    Many(Vec<String>),
}

impl Keymap {
    /// The shipped keys with `overlay` (the text of the user's file) laid over them. What is wrong with the overlay is named in
    /// `problems` and left out.
    pub fn new(overlay: Option<&str>) -> Self {
        let mut map = Self::default();
        map.lay(DEFAULT, "the shipped keys");
        if let Some(text) = overlay {
            map.lay(text, "keymap");
        }
        map
    }

    /// The rows of a section, in the order of the file.
    pub fn section(&self, context: &str) -> &[Binding] {
        self.sections.get(context).map_or(&[], Vec::as_slice)
    }

    /// What `keys` mean, asking the contexts in turn.
    pub fn lookup<'a>(&'a self, contexts: &[&str], keys: &[Chord]) -> Lookup<'a> {
        for context in contexts {
            let rows = self.section(context);
            if let Some(binding) = rows.iter().find(|binding| binding.keys == keys) {
                return Lookup::Found(binding);
            }
            if rows.iter().any(|binding| binding.keys.starts_with(keys)) {
                return Lookup::Prefix;
            }
        }
        Lookup::Nothing
    }

    /// The first binding of `action` in these contexts.
    pub fn binding_of(&self, contexts: &[&str], action: Action) -> Option<&Binding> {
        let mut rows = contexts.iter().flat_map(|context| self.section(context));
        rows.find(|binding| binding.action == action)
    }

    fn lay(&mut self, text: &str, source: &str) {
        let table: toml::Table = match toml::from_str(text) {
            Ok(table) => table,
            Err(error) => {
                let line = error.to_string().replace('\n', " ");
                return self.problems.push(format!("{source}: not read, the shipped keys stand: {line}"));
            }
        };
        for (context, section) in table {
            if !CONTEXTS.contains(&context.as_str()) {
                self.problems.push(format!(
                    "{source}: no such place as [{context}]; there are {}",
                    CONTEXTS.join(", ")
                ));
                continue;
            }
            let rows = section.get("keys").and_then(toml::Value::as_array).cloned();
            let Some(rows) = rows else {
                self.problems
                    .push(format!("{source}: [{context}] needs keys = [ {{ on = …, run = … }}, … ]"));
                continue;
            };
            let mut fresh: Vec<Binding> = Vec::new();
            for row in rows {
                self.lay_row(&context, row, &mut fresh, source);
            }
            // What was laid last is shown first in help and footer only if it is new; order of the file otherwise.
            self.sections.entry(context).or_default().extend(fresh);
        }
    }

    fn lay_row(&mut self, context: &str, row: toml::Value, fresh: &mut Vec<Binding>, source: &str) {
        let row: Row = match row.try_into() {
            Ok(row) => row,
            Err(error) => {
                return self.problems.push(format!("{source}: [{context}]: {}", error.to_string().trim()));
            }
        };
        let action = Action::named(&row.run);
        if action.is_none() && row.run != "none" {
            return self.problems.push(format!("{source}: [{context}]: unknown action \"{}\"", row.run));
        }
        let texts = match row.on {
            On::One(text) => vec![text],
            On::Many(texts) => texts,
        };
        for text in texts {
            let keys: Option<Vec<Chord>> = text.split(' ').map(Chord::parse).collect();
            let Some(keys) = keys else {
                self.problems.push(format!("{source}: [{context}]: no such key as \"{text}\""));
                continue;
            };
            let clash =
                fresh.iter().find(|other| other.keys.starts_with(&keys) || keys.starts_with(&other.keys));
            if let Some(other) = clash {
                let (first, second) = (other.action.name(), &row.run);
                self.problems.push(format!(
                    "{source}: [{context}]: \"{text}\" is both {first} and {second}; {first} stands"
                ));
                continue;
            }
            let older = self.sections.entry(context.to_owned()).or_default();
            // A key that begins or ends another sequence takes it away; that is said, where it is not the same key.
            for other in older.iter().filter(|other| other.keys != keys && action.is_some()) {
                if other.keys.starts_with(&keys) || keys.starts_with(&other.keys) {
                    let (taken, gone) = (other.keys_text(), other.action.name());
                    self.problems.push(format!(
                        "{source}: [{context}]: \"{text}\" takes {taken} ({gone}) away; give {gone} another key"
                    ));
                }
            }
            older.retain(|other| !other.keys.starts_with(&keys) && !keys.starts_with(&other.keys));
            let Some(action) = action else { continue };
            let desc = if row.desc.is_empty() { action.about().to_owned() } else { row.desc.clone() };
            // Only the first of several keys stands in the footer.
            let shown = fresh.iter().any(|other| other.action == action);
            let foot = if shown { String::new() } else { row.foot.clone() };
            fresh.push(Binding { keys, action, desc, foot });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chords(text: &str) -> Vec<Chord> {
        text.split(' ').map(|t| Chord::parse(t).unwrap()).collect()
    }

    #[test]
    fn the_shipped_keys_have_no_faults_and_no_alt() {
        let map = Keymap::new(None);
        assert_eq!(map.problems, Vec::<String>::new());
        assert!(map.sections.values().flatten().all(|binding| binding.keys.iter().all(|chord| !chord.alt)));
        for context in CONTEXTS.iter().filter(|c| !["events", "peer-detail"].contains(c)) {
            assert!(!map.section(context).is_empty(), "{context}");
        }
    }

    #[test]
    fn a_users_file_overlays_and_its_faults_are_named() {
        let text = "[list]\nkeys = [ { on = \"j\", run = \"up\" }, { on = \"Q\", run = \"dance\" }, { on = \"j\", run = \"down\" },\
                    { on = \"q\", run = \"quit\", colour = 1 } ]\n[attic]\nkeys = []\n[global]\nkeys = [ { on = \"?\", run = \"none\" } ]";
        let map = Keymap::new(Some(text));
        let Lookup::Found(binding) = map.lookup(&["list"], &chords("j")) else { panic!("j is unbound") };
        assert_eq!(binding.action, Action::Up);
        assert_eq!(map.lookup(&["global"], &chords("?")), Lookup::Nothing);
        let all = map.problems.join("\n");
        let map = Keymap::new(Some("[list]\nkeys = [ { on = \"g\", run = \"zoom\" } ]"));
        let [said] = map.problems.as_slice() else { panic!("{:?}", map.problems) };
        assert!(said.contains("\"g\" takes gg (first) away"), "{said}");
        for part in ["dance", "both up and down", "attic", "colour"] {
            assert!(all.contains(part), "{part} in {all}");
        }
    }

    #[test]
    fn a_file_that_is_not_toml_leaves_the_shipped_keys() {
        let map = Keymap::new(Some("keys = ["));
        assert_eq!(map.problems.len(), 1);
        assert!(matches!(map.lookup(&["global"], &chords("?")), Lookup::Found(_)));
    }

    #[test]
    fn sequences_wait_for_their_end() {
        let map = Keymap::new(None);
        assert_eq!(map.lookup(&["list"], &chords("g")), Lookup::Prefix);
        assert!(
            matches!(map.lookup(&["list"], &chords("g g")), Lookup::Found(b) if b.action == Action::First)
        );
    }
}
