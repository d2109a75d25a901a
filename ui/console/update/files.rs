//! Choosing the file of the submit form from a list, and writing its manifest in an editor.

use super::actions::push;
use super::layered;
use crate::console::forms::submit::{Field, SubmitForm};
use crate::console::layers::{FileEntry, Files, Layer};
use crate::console::model::{Model, Tone};
use crate::console::msg::{Editing, Effect};

/// The form under the list, or on top.
fn form(model: &mut Model) -> Option<&mut SubmitForm> {
    model.layers.iter_mut().rev().find_map(|layer| match layer {
        Layer::Submit(form) => Some(form.as_mut()),
        _ => None,
    })
}

/// Opens the list at the folder that was typed.
pub fn browse(model: &mut Model) -> Vec<Effect> {
    let Some(form) = form(model) else { return Vec::new() };
    let typed = form.value(Field::Path);
    let folder = typed.rfind('/').and_then(|at| typed.get(..=at)).unwrap_or_default().to_owned();
    let effects = vec![Effect::List { folder: folder.clone() }];
    push(model, Layer::Files(Files { folder, reading: true, ..Files::default() }));
    effects
}

/// What is in the folder has been read.
pub fn listed(model: &mut Model, folder: &str, found: Result<Vec<FileEntry>, String>) {
    let files = model.layers.iter_mut().rev().find_map(|layer| match layer {
        Layer::Files(files) if files.folder == folder => Some(files),
        _ => None,
    });
    if let Some(files) = files {
        files.reading = false;
        files.chosen = 0;
        match found {
            Ok(entries) => files.entries = entries,
            Err(problem) => files.problem = Some(problem),
        }
    }
}

fn go(model: &mut Model, folder: String) -> Vec<Effect> {
    if let Some(Layer::Files(files)) = model.layers.last_mut() {
        *files = Files { folder: folder.clone(), hidden: files.hidden, reading: true, ..Files::default() };
    }
    vec![Effect::List { folder }]
}

/// Goes to the folder above.
pub fn up(model: &mut Model) -> Vec<Effect> {
    let Some(Layer::Files(files)) = model.layers.last() else { return Vec::new() };
    let folder = files.folder.trim_end_matches('/');
    let above = match folder.rsplit_once('/') {
        // At the root there is nothing above.
        None if folder.is_empty() && files.folder.starts_with('/') => return Vec::new(),
        _ if folder.is_empty() || folder == ".." || folder.ends_with("/..") || folder == "~" => {
            format!("{}../", files.folder)
        }
        None => String::new(),
        Some((above, _)) => format!("{above}/"),
    };
    go(model, above)
}

/// Takes the chosen file into the form, or goes into the chosen folder.
pub fn choose(model: &mut Model) -> Vec<Effect> {
    let Some(Layer::Files(files)) = model.layers.last() else { return Vec::new() };
    let Some(entry) = files.shown().get(files.chosen).copied().cloned() else { return Vec::new() };
    let path = format!("{}{}", files.folder, entry.name);
    if entry.folder {
        return go(model, format!("{path}/"));
    }
    model.layers.pop();
    take(model, path)
}

/// Puts a path into the form, as if it had been typed.
fn take(model: &mut Model, path: String) -> Vec<Effect> {
    let Some(form) = form(model) else { return Vec::new() };
    form.focus = Field::Path;
    form.set(Field::Path, path);
    layered::changed(model)
}

/// Opens the manifest at the path in the editor; where there is none, a new one with what the form says.
pub fn edit(model: &mut Model) -> Vec<Effect> {
    let cwd = model.settings.cwd.clone();
    let Some(form) = form(model) else { return Vec::new() };
    let path = form.value(Field::Path).trim().to_owned();
    let is_manifest = path.ends_with(".toml") || path.ends_with(".json");
    if is_manifest {
        return vec![Effect::Edit(Editing::File(path))];
    }
    match form.manifest_text(&cwd) {
        Ok(text) => {
            vec![Effect::Edit(Editing::New { name: form.value(Field::Name).trim().to_owned(), text })]
        }
        Err(problem) => {
            form.tried = true;
            model.toast(Tone::Bad, problem);
            Vec::new()
        }
    }
}

/// The editor has ended.
pub fn edited(model: &mut Model, result: Result<String, String>) -> Vec<Effect> {
    match result {
        Ok(path) => take(model, path),
        Err(why) => {
            model.toast(Tone::Bad, why);
            Vec::new()
        }
    }
}
