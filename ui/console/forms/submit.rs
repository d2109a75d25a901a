//! Submitting a task: a module with what may be said about it, or a manifest that says all of it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tui_input::Input;
use zerostate::document::{
    ARTIFACT_MAX, ArtifactSource, Cost, Credits, Draft, Limits, Untrusted, bytes_text,
};

use super::fields;
pub use super::fields::{Field, expand};
use crate::console::msg::Probe;

/// The form.
#[derive(Debug)]
pub struct SubmitForm {
    /// The guild that it is submitted to, and its name; without one, to whoever offers to run it.
    pub guild: Option<(String, Untrusted)>,
    inputs: Vec<Input>,
    pub focus: Field,
    pub found: Option<Result<Probe, String>>,
    /// Raised with every change of the path, so that late answers are known as such.
    pub generation: u64,
    /// The paths that complete what was typed.
    pub completions: Vec<String>,
    pub changed: bool,
    /// It is submitted as soon as it is known what stands at the path.
    pub eager: bool,
    /// Whether the name follows the file's until one types another.
    name_is_own: bool,
    /// What stands in the other fields was said by a manifest.
    filled: bool,
    /// Shown once one has tried to submit.
    pub tried: bool,
    /// The ticket of what the node has not answered yet.
    pub waiting: Option<u64>,
    /// Why the node refused it.
    pub refused: Option<String>,
}

impl Default for SubmitForm {
    fn default() -> Self {
        let text = |field: &Field| match field {
            Field::Function => zerostate::document::DEFAULT_FUNCTION.to_owned(),
            Field::Memory => bytes_text(Limits::default().memory_bytes).replace(' ', ""),
            Field::Time => format!("{}s", Limits::default().time_ms / 1_000),
            Field::Fuel => Limits::default().fuel.to_string(),
            Field::Quorum => "0".to_owned(),
            Field::Lifetime => "1h".to_owned(),
            _ => String::new(),
        };
        Self {
            guild: None,
            inputs: Field::ALL.iter().map(|field| Input::new(text(field))).collect(),
            focus: Field::Path,
            found: None,
            filled: false,
            generation: 0,
            completions: Vec::new(),
            changed: false,
            eager: false,
            name_is_own: false,
            tried: false,
            waiting: None,
            refused: None,
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
        self.eager = false;
        self.refused = None;
        match self.focus {
            Field::Name => self.name_is_own = true,
            Field::Path => {
                self.generation += 1;
                self.found = None;
                self.completions.clear();
                if !self.name_is_own {
                    let stem = Path::new(self.value(Field::Path).trim())
                        .file_stem()
                        .map(|s| s.to_string_lossy().into_owned());
                    self.set(Field::Name, stem.unwrap_or_default());
                }
            }
            _ => {}
        }
        self.focus == Field::Path
    }

    /// Whether all that was typed was taken back.
    pub fn is_as_new(&self) -> bool {
        let fresh = Self::default();
        Field::ALL.iter().all(|field| self.value(*field) == fresh.value(*field))
    }

    /// Takes what was found at the path; a manifest fills the other fields.
    pub fn take(&mut self, found: Result<Probe, String>) {
        if std::mem::take(&mut self.filled) {
            // What a manifest has said does not stand when there is another file.
            let fresh = Self::default();
            for field in Field::ALL.iter().filter(|field| !matches!(field, Field::Path | Field::Name)) {
                self.set(*field, fresh.value(*field).to_owned());
            }
        }
        if let Ok(Probe::Manifest { draft, .. }) = &found {
            let draft = (**draft).clone();
            self.set(Field::Name, draft.name);
            self.set(Field::Function, draft.function);
            self.set(
                Field::Args,
                draft.args.iter().map(|arg| fields::quoted(arg)).collect::<Vec<_>>().join(" "),
            );
            self.set(Field::Memory, bytes_text(draft.limits.memory_bytes).replace(' ', ""));
            self.set(Field::Time, plain_duration(draft.limits.time_ms));
            self.set(Field::Fuel, draft.limits.fuel.to_string());
            self.set(Field::Quorum, draft.attestation.quorum.to_string());
            self.set(Field::Witnesses, draft.attestation.witnesses.to_string());
            self.set(Field::PerSecond, draft.payment.per_second_micro.to_string());
            self.set(Field::PerMib, draft.payment.per_mib_micro.to_string());
            self.set(Field::PerGfuel, draft.payment.per_gfuel_micro.to_string());
            let expires = match draft.expires_at {
                Some(at) => format!("at {at}"),
                None => plain_duration(draft.lifetime_ms),
            };
            self.set(Field::Lifetime, expires);
            let cap = draft.payment.max_total_micro;
            self.set(
                Field::MaxTotal,
                if cap == Credits::MAX { "no cap".to_owned() } else { cap.to_string() },
            );
            self.focus = Field::Path;
            self.name_is_own = false;
            self.filled = true;
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

    fn parsed(&self) -> Result<Draft, Vec<(Field, &'static str)>> {
        fields::parse(|field| self.value(field).to_owned())
    }

    /// Whether what stands at the path is being looked at.
    pub fn is_probed(&self) -> bool {
        self.found.is_none() && !self.value(Field::Path).trim().is_empty()
    }

    /// What the fields say as a manifest, to go on with in an editor.
    ///
    /// # Errors
    /// What is wrong with the first field that cannot be read.
    pub fn manifest_text(&self, folder: &str) -> Result<String, String> {
        fields::manifest(|field| self.value(field).to_owned(), folder)
    }

    /// Whether it is the last of the fields that one fills in.
    pub fn is_at_the_end(&self) -> bool {
        Field::ALL.last() == Some(&self.focus) || self.manifest().is_some()
    }

    /// What a run can cost at most, term by term, as far as the fields say.
    pub fn cost(&self) -> Option<String> {
        let draft = match self.manifest() {
            Some(draft) => draft.clone(),
            None => self.parsed().ok()?,
        };
        let (prices, limits) = (&draft.payment, &draft.limits);
        let most = Cost::of(prices, limits.time(), limits.memory_bytes, limits.fuel);
        let terms = [("time", most.time_micro), ("memory", most.memory_micro), ("fuel", most.fuel_micro)];
        if terms.iter().all(|(_, amount)| *amount == Credits::ZERO) {
            return Some("nothing: no price is named".to_owned());
        }
        let sum = terms.iter().try_fold(Credits::ZERO, |sum, (_, amount)| sum.checked_add(*amount));
        let terms: Vec<String> = terms.iter().map(|(what, amount)| format!("{what} {amount}")).collect();
        let cap = match prices.max_total_micro {
            Credits::MAX => "no cap".to_owned(),
            cap if sum.is_none_or(|sum| sum > cap) => {
                format!("capped; without: {}", sum.unwrap_or(Credits::MAX))
            }
            cap => format!("cap {cap}"),
        };
        Some(format!("at most {}: {} ({cap})", most.total_micro, terms.join(" + ")))
    }

    /// What is wrong with a field.
    pub fn problem(&self, field: Field, now: Timestamp) -> Option<String> {
        if field == Field::Path {
            return match &self.found {
                Some(Err(problem)) => Some(problem.clone()),
                Some(Ok(Probe::Folder)) if self.tried => {
                    Some("this is a folder; Tab goes on into it".to_owned())
                }
                None if self.tried && self.value(Field::Path).trim().is_empty() => {
                    Some("a file is needed".to_owned())
                }
                _ => None,
            };
        }
        if self.manifest().is_some()
            || (field == Field::Name && self.value(Field::Path).is_empty() && !self.tried)
        {
            return None;
        }
        let draft = match self.parsed() {
            Ok(draft) => draft,
            Err(problems) => {
                return problems
                    .into_iter()
                    .find(|(at, _)| *at == field)
                    .map(|(_, problem)| problem.to_owned());
            }
        };
        let faults = draft.value_faults(now).0;
        let fault = faults.iter().find(|fault| fields::of_fault(&fault.field) == Some(field))?;
        Some(format!("expected {}", fault.expected))
    }

    /// The draft and the module to hand over with it, when everything is right.
    pub fn ready(&self, now: Timestamp) -> Option<(Draft, Option<PathBuf>)> {
        match self.found.as_ref()? {
            Ok(Probe::Manifest { draft, module }) => Some(((**draft).clone(), module.clone())),
            Ok(Probe::Module { .. }) => {
                let draft = self.parsed().ok().filter(|draft| draft.value_faults(now).is_empty())?;
                let ArtifactSource::Path(path) = &draft.artifact else { return None };
                let path = path.clone();
                Some((draft, Some(path)))
            }
            Ok(Probe::Folder) | Err(_) => None,
        }
    }
}

/// A time as one would type it: what a manifest has put into a field can be read again when the manifest is gone.
fn plain_duration(ms: u64) -> String {
    match ms {
        ms if ms > 0 && ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        ms if ms > 0 && ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        ms if ms > 0 && ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

/// What a module at the path is, in words.
pub fn found_text(probe: &Probe) -> String {
    match probe {
        Probe::Module { size } if *size > ARTIFACT_MAX => {
            format!("{}; at most {} are taken", bytes_text(*size), bytes_text(ARTIFACT_MAX))
        }
        Probe::Module { size } => format!("a module of {}", bytes_text(*size)),
        Probe::Manifest { module: Some(path), .. } => format!("a manifest; its module is {}", path.display()),
        Probe::Manifest { .. } => "a manifest; its module is named by CID".to_owned(),
        Probe::Folder => "a folder; Tab goes on".to_owned(),
    }
}

#[cfg(test)]
mod tests;
