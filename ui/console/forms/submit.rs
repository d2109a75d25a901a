//! Submitting a task: a module with what may be said about it, or a manifest that says all of it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tui_input::Input;
use zerostate::document::{
    ARTIFACT_MAX, ArtifactSource, Credits, Draft, Limits, bytes_text, duration_text, parse_bytes, parse_duration,
};

use crate::console::msg::Probe;

macro_rules! fields {
    ($($variant:ident $label:literal $hint:literal,)*) => {
        /// A field of the form, in its order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Field { $($variant,)* }

        impl Field {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// What stands there while nothing does.
            pub fn hint(self) -> &'static str {
                match self { $(Self::$variant => $hint,)* }
            }
        }
    };
}

fields! {
    Path "file" "a module (.wasm) or a manifest (.toml, .json)",
    Name "name" "what the task is called",
    Function "function" "the exported function to call",
    Args "arguments" "separated by spaces; \"quoted\" when they contain some",
    Memory "memory" "128MiB",
    Time "time" "30s",
    Fuel "fuel" "10000000000",
    Quorum "quorum" "how many witnesses must agree; 0 asks for none",
    MaxTotal "max total" "the most it may cost, like 0.05; no cap when empty",
}

/// The form.
#[derive(Debug)]
pub struct SubmitForm {
    inputs: Vec<Input>,
    pub focus: Field,
    pub found: Option<Result<Probe, String>>,
    /// Raised with every change of the path, so that late answers are known as such.
    pub generation: u64,
    /// The paths that complete what was typed.
    pub completions: Vec<String>,
    pub changed: bool,
    /// Whether the name follows the file's until one types another.
    name_is_own: bool,
    /// Shown once one has tried to submit.
    pub tried: bool,
}

impl Default for SubmitForm {
    fn default() -> Self {
        let text = |field: &Field| match field {
            Field::Function => zerostate::document::DEFAULT_FUNCTION.to_owned(),
            Field::Memory => bytes_text(Limits::default().memory_bytes).replace(' ', ""),
            Field::Time => format!("{}s", Limits::default().time_ms / 1_000),
            Field::Fuel => Limits::default().fuel.to_string(),
            Field::Quorum => "0".to_owned(),
            _ => String::new(),
        };
        Self {
            inputs: Field::ALL.iter().map(|field| Input::new(text(field))).collect(),
            focus: Field::Path,
            found: None,
            generation: 0,
            completions: Vec::new(),
            changed: false,
            name_is_own: false,
            tried: false,
        }
    }
}

impl SubmitForm {
    /// What stands in a field.
    pub fn value(&self, field: Field) -> &str {
        self.inputs.get(field as usize).map_or("", Input::value)
    }

    /// Puts text into a field.
    pub fn set(&mut self, field: Field, text: String) {
        if let Some(input) = self.inputs.get_mut(field as usize) {
            *input = Input::new(text);
        }
    }

    /// The field that is typed into; none where the manifest has the word.
    pub fn input(&mut self) -> Option<&mut Input> {
        if self.focus != Field::Path && self.manifest().is_some() {
            return None;
        }
        self.inputs.get_mut(self.focus as usize)
    }

    /// The input of a field, to draw it.
    pub fn shown(&self, field: Field) -> Option<&Input> {
        self.inputs.get(field as usize)
    }

    /// The manifest at the path, if there is one.
    pub fn manifest(&self) -> Option<&Draft> {
        match &self.found {
            Some(Ok(Probe::Manifest { draft, .. })) => Some(draft),
            _ => None,
        }
    }

    /// Goes to the next or the previous field; with a manifest there is only the path.
    pub fn step(&mut self, forward: bool) {
        if self.manifest().is_some() {
            self.focus = Field::Path;
            return;
        }
        let n = Field::ALL.len();
        let by = if forward { 1 } else { n - 1 };
        self.focus = Field::ALL.get((self.focus as usize + by) % n).copied().unwrap_or(Field::Path);
        self.completions.clear();
    }

    /// Something was typed into the field in focus. Says whether the path is another now.
    pub fn typed(&mut self) -> bool {
        self.changed = true;
        match self.focus {
            Field::Name => self.name_is_own = true,
            Field::Path => {
                self.generation += 1;
                self.found = None;
                self.completions.clear();
                if !self.name_is_own {
                    let stem = Path::new(self.value(Field::Path).trim()).file_stem().map(|s| s.to_string_lossy().into_owned());
                    self.set(Field::Name, stem.unwrap_or_default());
                }
            }
            _ => {}
        }
        self.focus == Field::Path
    }

    /// Takes what was found at the path; a manifest fills the other fields.
    pub fn take(&mut self, found: Result<Probe, String>) {
        if let Ok(Probe::Manifest { draft, .. }) = &found {
            let draft = (**draft).clone();
            self.set(Field::Name, draft.name);
            self.set(Field::Function, draft.function);
            self.set(Field::Args, draft.args.join(" "));
            self.set(Field::Memory, bytes_text(draft.limits.memory_bytes));
            self.set(Field::Time, duration_text(draft.limits.time()));
            self.set(Field::Fuel, draft.limits.fuel.to_string());
            self.set(Field::Quorum, draft.attestation.quorum.to_string());
            let cap = draft.payment.max_total_micro;
            self.set(Field::MaxTotal, if cap == Credits::MAX { "no cap".to_owned() } else { cap.to_string() });
            self.focus = Field::Path;
            self.name_is_own = false;
        }
        self.found = Some(found);
    }

    /// Takes completions of the path: writes out what they have in common, and keeps them when there are several.
    pub fn complete(&mut self, paths: Vec<String>) {
        let common = paths.iter().skip(1).fold(paths.first().cloned().unwrap_or_default(), |common, path| {
            common.chars().zip(path.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
        });
        if common.len() > self.value(Field::Path).len() {
            self.set(Field::Path, common);
            self.focus = Field::Path;
            self.typed();
        }
        self.completions = if paths.len() > 1 { paths } else { Vec::new() };
    }

    /// What is wrong with a field.
    pub fn problem(&self, field: Field, now: Timestamp) -> Option<String> {
        if field == Field::Path {
            return match &self.found {
                Some(Err(problem)) => Some(problem.clone()),
                Some(Ok(Probe::Folder)) if self.tried => Some("this is a folder; Tab goes on into it".to_owned()),
                None if self.tried && self.value(Field::Path).trim().is_empty() => Some("a file is needed".to_owned()),
                _ => None,
            };
        }
        if self.manifest().is_some() || (field == Field::Name && self.value(Field::Path).is_empty() && !self.tried) {
            return None;
        }
        let draft = match self.parse() {
            Ok(draft) => draft,
            Err(problems) => return problems.into_iter().find(|(at, _)| *at == field).map(|(_, problem)| problem.to_owned()),
        };
        let faults = draft.value_faults(now).0;
        let fault = faults.iter().find(|fault| of_fault(&fault.field) == Some(field))?;
        Some(format!("expected {}", fault.expected))
    }

    /// The draft and the module to hand over with it, when everything is right.
    pub fn ready(&self, now: Timestamp) -> Option<(Draft, Option<PathBuf>)> {
        match self.found.as_ref()? {
            Ok(Probe::Manifest { draft, module }) => Some(((**draft).clone(), module.clone())),
            Ok(Probe::Module { .. }) => {
                let draft = self.parse().ok().filter(|draft| draft.value_faults(now).is_empty())?;
                let ArtifactSource::Path(path) = &draft.artifact else { return None };
                let path = path.clone();
                Some((draft, Some(path)))
            }
            Ok(Probe::Folder) | Err(_) => None,
        }
    }

    fn parse(&self) -> Result<Draft, Vec<(Field, &'static str)>> {
        let mut problems = Vec::new();
        let path = PathBuf::from(expand(self.value(Field::Path).trim()));
        let mut draft = Draft::for_module(self.value(Field::Name).trim(), ArtifactSource::Path(path));
        draft.function = self.value(Field::Function).trim().to_owned();
        let mut take = |field: Field, found: bool, expected: &'static str| {
            if !found {
                problems.push((field, expected));
            }
        };
        match split(self.value(Field::Args)) {
            Some(args) => draft.args = args,
            None => take(Field::Args, false, "a quote is not closed"),
        }
        match parse_bytes(self.value(Field::Memory).trim()) {
            Some(bytes) => draft.limits.memory_bytes = bytes,
            None => take(Field::Memory, false, "expected a size like 128MiB"),
        }
        let time = parse_duration(self.value(Field::Time).trim()).and_then(|time| u64::try_from(time.as_millis()).ok());
        match time {
            Some(ms) => draft.limits.time_ms = ms,
            None => take(Field::Time, false, "expected a duration like 30s or 250ms"),
        }
        match self.value(Field::Fuel).trim().replace([',', '_'], "").parse() {
            Ok(fuel) => draft.limits.fuel = fuel,
            Err(_) => take(Field::Fuel, false, "expected a whole number"),
        }
        match self.value(Field::Quorum).trim().parse() {
            Ok(quorum) => {
                draft.attestation.quorum = quorum;
                draft.attestation.witnesses = quorum;
            }
            Err(_) => take(Field::Quorum, false, "expected a small whole number"),
        }
        match self.value(Field::MaxTotal).trim() {
            "" | "no cap" => {}
            text => match text.parse() {
                Ok(cap) => draft.payment.max_total_micro = cap,
                Err(_) => take(Field::MaxTotal, false, "expected an amount like 0.05, with at most six decimals"),
            },
        }
        if problems.is_empty() { Ok(draft) } else { Err(problems) }
    }
}

/// The field of the form that a fault of the draft belongs to.
fn of_fault(field: &str) -> Option<Field> {
    Some(match field {
        "name" => Field::Name,
        "function" => Field::Function,
        "limits.memory" => Field::Memory,
        "limits.time" => Field::Time,
        "limits.fuel" => Field::Fuel,
        "payment.max_total" => Field::MaxTotal,
        field if field.starts_with("args") => Field::Args,
        field if field.starts_with("attestation") => Field::Quorum,
        _ => return None,
    })
}

/// `~/x` as the shell would have it.
pub fn expand(path: &str) -> String {
    match (path.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => path.to_owned(),
    }
}

/// Words as a shell would split them: by spaces, except between quotes. `None` when a quote is not closed.
fn split(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote, mut inside) = (Vec::new(), String::new(), None, false);
    for c in text.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                inside = true;
            }
            (c, None) if c.is_whitespace() => {
                if inside || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                inside = false;
            }
            (c, None) => word.push(c),
        }
    }
    if inside || !word.is_empty() {
        words.push(word);
    }
    quote.is_none().then_some(words)
}

/// What a module at the path is, in words.
pub fn found_text(probe: &Probe) -> String {
    match probe {
        Probe::Module { size } if *size > ARTIFACT_MAX => format!("{}; at most {} are taken", bytes_text(*size), bytes_text(ARTIFACT_MAX)),
        Probe::Module { size } => format!("a module of {}", bytes_text(*size)),
        Probe::Manifest { module: Some(path), .. } => format!("a manifest; its module is {}", path.display()),
        Probe::Manifest { .. } => "a manifest; its module is named by CID".to_owned(),
        Probe::Folder => "a folder; Tab goes on".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_split_as_in_a_shell() {
        assert_eq!(split("a  'b c' \"\" d").unwrap(), ["a", "b c", "", "d"]);
        assert_eq!(split("\"open"), None);
    }

    #[test]
    fn a_wrong_value_is_named_under_its_field_and_keeps_the_form_from_being_ready() {
        let now = Timestamp::UNIX_EPOCH;
        let mut form = SubmitForm::default();
        form.set(Field::Path, "hello.wasm".to_owned());
        form.typed();
        form.take(Ok(Probe::Module { size: 100 }));
        assert_eq!(form.value(Field::Name), "hello");
        assert!(form.ready(now).is_some(), "{:?}", Field::ALL.iter().map(|f| form.problem(*f, now)).collect::<Vec<_>>());
        for (field, bad) in [(Field::Memory, "1KiB"), (Field::Memory, "lots"), (Field::Time, "2h"), (Field::Quorum, "-1"), (Field::MaxTotal, "1e3")] {
            let before = form.value(field).to_owned();
            form.set(field, bad.to_owned());
            assert!(form.problem(field, now).is_some(), "{bad}");
            assert!(form.ready(now).is_none(), "{bad}");
            form.set(field, before);
        }
    }

    #[test]
    fn completion_writes_out_what_the_paths_have_in_common() {
        let mut form = SubmitForm::default();
        form.set(Field::Path, "as".to_owned());
        form.complete(vec!["assets/hello.toml".to_owned(), "assets/hello.wasm".to_owned()]);
        assert_eq!(form.value(Field::Path), "assets/hello.");
        assert_eq!(form.completions.len(), 2);
    }
}
