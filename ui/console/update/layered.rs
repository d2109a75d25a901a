//! What happens inside of forms, questions and the palette.

use ratatui::layout::Rect;
use zerostate::api::{Command, GuildCommand};

use super::{actions, asks, attesting, execute, files, guilds, ticket};
use crate::console::action::Action;
use crate::console::details::Subject;
use crate::console::find::Find;
use crate::console::forms::submit::{Field, SubmitForm};
use crate::console::layer_view::content;
use crate::console::layers::{Confirm, Confirmed, Layer};
use crate::console::layout::{areas, layer_area};
use crate::console::model::{Model, Pane, Tone};
use crate::console::msg::{Effect, Probe};
use crate::console::pending::Purpose;

/// An action that only means something in a layer or in the filter line.
pub fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    if action == Action::Choose
        && let Some(find) = model.layers.last_mut().and_then(Layer::find_mut)
        && std::mem::take(&mut find.typing)
    {
        return Vec::new();
    }
    match (model.layers.last_mut(), action) {
        (Some(Layer::Confirm(question)), Action::Toggle | Action::Yes | Action::Choose)
            if question.waits.is_some() => {}
        (Some(Layer::Confirm(question)), Action::Toggle) => question.yes = !question.yes,
        (Some(Layer::Confirm(_)), Action::No) => drop(model.layers.pop()),
        (Some(Layer::Confirm(question)), Action::Yes) => {
            question.yes = true;
            return answer(model);
        }
        (Some(Layer::Confirm(_)), Action::Choose) => return answer(model),
        (Some(Layer::Palette(_)), Action::Choose) => return choose(model),
        (Some(Layer::Palette(palette)), Action::FieldComplete) => {
            if let Some(found) = palette.found().get(palette.chosen) {
                let space = if found.action.takes_argument() { " " } else { "" };
                palette.input = tui_input::Input::new(format!("{}{space}", found.action.name()));
                palette.chosen = 0;
            }
        }
        (Some(Layer::Submit(form)), Action::FieldNext) => form.step(true),
        (Some(Layer::Submit(form)), Action::FieldPrevious) => form.step(false),
        (Some(Layer::Submit(form)), Action::FieldComplete) => {
            let done = matches!(form.found, Some(Ok(Probe::Module { .. } | Probe::Manifest { .. })));
            if form.focus == Field::Path && !done {
                let typed = form.value(Field::Path).to_owned();
                return vec![Effect::Complete { generation: form.generation, typed }];
            }
            form.step(true);
        }
        (Some(Layer::Submit(form)), Action::FieldEnter) => {
            if form.is_at_the_end() {
                return submit(model);
            }
            form.step(true);
        }
        (Some(Layer::Guild(form)), Action::FieldNext | Action::FieldComplete) => form.step(true),
        (Some(Layer::Guild(form)), Action::FieldPrevious) => form.step(false),
        (Some(Layer::Guild(form)), Action::FieldEnter) if !form.is_at_the_end() => form.step(true),
        (Some(Layer::Guild(_)), Action::FormSubmit | Action::FieldEnter) => return guilds::submit(model),
        (Some(Layer::Submit(_) | Layer::Connect(_)), Action::FormSubmit | Action::FieldEnter) => {
            return submit(model);
        }
        (Some(Layer::Submit(_)), Action::Browse) => return files::browse(model),
        (Some(Layer::Submit(_)), Action::Edit) => return files::edit(model),
        (Some(Layer::Files(_)), Action::Choose) => return files::choose(model),
        (Some(Layer::Files(_)), Action::FilesUp) => return files::up(model),
        (Some(Layer::Files(files)), Action::FilesHidden) => {
            files.hidden = !files.hidden;
            files.chosen = 0;
        }
        (Some(Layer::Themes(_)), Action::Choose) => {
            model.layers.pop();
            let name = &model.theme.name;
            let said = format!("theme {name}; `theme = \"{name}\"` under [console] in config.toml keeps it");
            model.toast(Tone::Good, said);
        }
        (None, Action::Choose) => model.filtering = None,
        _ => {}
    }
    Vec::new()
}

/// A click on a line of what is open: chooses in a list, and chooses for good what was chosen already.
pub fn click(model: &mut Model, line: usize) -> Vec<Effect> {
    let same = match model.layers.last_mut() {
        Some(Layer::Files(files)) => {
            files.find.typing = false;
            let last = files.shown().len().saturating_sub(1);
            std::mem::replace(&mut files.chosen, line.min(last)) == line
        }
        Some(Layer::Themes(themes)) => {
            let last = model.themes.len().saturating_sub(1);
            std::mem::replace(&mut themes.chosen, line.min(last)) == line
        }
        _ => return Vec::new(),
    };
    if let (Some(Layer::Themes(themes)), false) = (model.layers.last(), same) {
        preview(model, themes.chosen);
    }
    if same { act(model, Action::Choose) } else { Vec::new() }
}

/// Shows the theme at a place.
pub fn preview(model: &mut Model, chosen: usize) {
    if let Some(theme) = model.themes.get(chosen) {
        model.theme = theme.clone();
    }
}

/// The text of the topmost layer's input is another now.
pub fn changed(model: &mut Model) -> Vec<Effect> {
    match model.layers.last_mut() {
        Some(Layer::Submit(form)) => {
            let changed = form.typed();
            let path = form.value(Field::Path).trim().to_owned();
            if changed && !path.is_empty() {
                return vec![Effect::Probe { generation: form.generation, path }];
            }
        }
        Some(Layer::Guild(form)) => form.typed(),
        Some(Layer::Palette(palette)) => palette.chosen = 0,
        Some(Layer::Files(files)) => files.chosen = 0,
        Some(Layer::Detail(_) | Layer::Text(_) | Layer::Facts(_)) => return go_to(model, Find::first),
        _ => {}
    }
    Vec::new()
}

/// Goes to the next place where what is looked for stands, or to the one before.
pub fn find_next(model: &mut Model, on: bool) -> Vec<Effect> {
    let Some(layer) = model.layers.last() else { return Vec::new() };
    if layer.find().is_some_and(|find| find.word().is_none()) {
        let key = model.key_of(&layer.contexts().0, Action::Filter);
        model.toast(Tone::Undone, format!("nothing is looked for; {key} looks for a word"));
        return Vec::new();
    }
    go_to(model, |find, found| find.step(found, on))
}

/// Takes away what is looked for; `false` where nothing is.
pub fn clear_find(model: &mut Model) -> bool {
    let Some(layer) = model.layers.last_mut() else { return false };
    let chosen = match layer {
        Layer::Files(files) => files.shown().get(files.chosen).map(|entry| entry.name.clone()),
        _ => None,
    };
    // Who takes back what is still being typed is where one was.
    let from = layer.find().filter(|find| find.typing).map(|find| find.from);
    let cleared = layer.find_mut().is_some_and(Find::clear);
    if let (Some(from), Some(scroll)) = (from, layer.scroll()) {
        *scroll = from;
    }
    match layer {
        // The same file stays chosen among all the others.
        Layer::Files(files) if cleared => {
            let place = files.shown().iter().position(|entry| Some(&entry.name) == chosen.as_ref());
            files.chosen = place.unwrap_or(0);
        }
        Layer::Detail(detail) if cleared => detail.follows = matches!(detail.subject, Subject::Guild { .. }),
        _ => {}
    }
    cleared
}

/// Goes to one of the lines in which what is looked for stands.
fn go_to(model: &mut Model, which: impl FnOnce(&Find, &[usize]) -> Option<usize>) -> Vec<Effect> {
    let screen = Rect::new(0, 0, model.size.0, model.size.1);
    let (Some(layer), Some(areas)) = (model.layers.last(), areas(model, screen)) else { return Vec::new() };
    let inside = layer_area(layer, &areas, 0).width.saturating_sub(4);
    let found = content(model, layer, usize::from(inside)).found;
    let Some(layer) = model.layers.last_mut() else { return Vec::new() };
    let Some(line) = layer.find().and_then(|find| which(find, &found)) else { return Vec::new() };
    if let Some(find) = layer.find_mut() {
        find.at = line;
    }
    if let Layer::Detail(detail) = layer {
        detail.follows = false;
    }
    if let Some(scroll) = layer.scroll() {
        // Some lines of what stands before it are seen as well.
        *scroll = line.saturating_sub(BEFORE);
    }
    Vec::new()
}

/// Lines that are seen above the one that was gone to.
const BEFORE: usize = 3;

/// The form that asked, if it is still there, and whether it is on top.
fn asked(model: &mut Model, generation: u64) -> Option<(&mut SubmitForm, bool)> {
    let layers = model.layers.len();
    model.layers.iter_mut().enumerate().rev().find_map(|(at, layer)| match layer {
        Layer::Submit(form) if form.generation == generation => Some((form.as_mut(), at + 1 == layers)),
        _ => None,
    })
}

/// What stands at the path of a form is known.
pub fn probed(model: &mut Model, generation: u64, found: Result<Probe, String>) -> Vec<Effect> {
    let Some((form, on_top)) = asked(model, generation) else { return Vec::new() };
    form.take(found);
    // What lies over it by now was not there when it was to be submitted.
    if std::mem::take(&mut form.eager) && on_top { submit(model) } else { Vec::new() }
}

/// The paths that complete what was typed have been found.
pub fn completed(model: &mut Model, generation: u64, paths: Vec<String>) -> Vec<Effect> {
    let Some((form, _)) = asked(model, generation) else { return Vec::new() };
    if paths.is_empty() {
        form.step(true);
        return Vec::new();
    }
    form.complete(paths);
    if form.generation == generation {
        return Vec::new();
    }
    let path = form.value(Field::Path).to_owned();
    vec![Effect::Probe { generation: form.generation, path }]
}

fn choose(model: &mut Model) -> Vec<Effect> {
    let Some(Layer::Palette(palette)) = model.layers.last() else { return Vec::new() };
    let found = palette.found();
    let chosen = found.get(palette.chosen.min(found.len().saturating_sub(1))).map(|found| found.action);
    let Some(action) = chosen else { return Vec::new() };
    let argument = if Action::named(palette.parts().0) == Some(action) {
        palette.parts().1.to_owned()
    } else {
        String::new()
    };
    model.layers.pop();
    if action == Action::Connect && !argument.is_empty() {
        let form = crate::console::forms::connect::ConnectForm::with(&argument);
        actions::push(model, Layer::Connect(form));
        return submit(model);
    }
    actions::act(model, action, &argument)
}

fn answer(model: &mut Model) -> Vec<Effect> {
    let Some(Layer::Confirm(Confirm { yes, what, .. })) = model.layers.pop() else { return Vec::new() };
    if !yes {
        return Vec::new();
    }
    match what {
        Confirmed::Sign(found) => attesting::sign(model, found),
        Confirmed::Cancel(tasks) => {
            model.list_mut(Pane::Tasks).marked.clear();
            let cancel =
                |(task_id, name)| execute(model, Command::TaskCancel { task_id }, Purpose::Cancel { name });
            tasks.into_iter().flat_map(cancel).collect()
        }
        Confirmed::Inbox { ids, accept } => asks::answer_inbox(model, ids, accept),
        Confirmed::Leave { guild_id, name, own } => {
            let guild = guild_id.clone();
            let command = match own {
                true => GuildCommand::Dissolve { guild_id: guild },
                false => GuildCommand::Leave { guild_id: guild },
            };
            execute(model, Command::Guild(command), Purpose::Leave { guild_id, name, own })
        }
        Confirmed::Discard => {
            model.layers.pop();
            Vec::new()
        }
        Confirmed::Quit => vec![Effect::Quit],
    }
}

/// The form that waits for the answer to a ticket, if it is still there.
pub fn asking(model: &mut Model, ticket: u64) -> Option<&mut Layer> {
    model.layers.iter_mut().rev().find(|layer| layer.asked() == Some(ticket))
}

/// Takes that form away; `false` when it is gone already, and the operator somewhere else.
pub fn close(model: &mut Model, ticket: u64) -> bool {
    let at = model.layers.iter().rposition(|layer| layer.asked() == Some(ticket));
    at.map(|at| model.layers.remove(at)).is_some()
}

pub fn submit(model: &mut Model) -> Vec<Effect> {
    let now = model.now;
    match model.layers.last_mut() {
        Some(Layer::Connect(form)) => {
            let Some(address) = form.ready() else { return Vec::new() };
            model.layers.pop();
            execute(model, Command::Connect { address: address.clone() }, Purpose::Connect { address })
        }
        // It stays until the node has taken it.
        Some(Layer::Submit(form)) if form.waiting.is_some() => Vec::new(),
        Some(Layer::Submit(form)) => {
            form.tried = true;
            form.refused = None;
            form.eager = form.is_probed();
            if form.eager {
                return Vec::new();
            }
            let Some((draft, module)) = form.ready(now) else {
                let wrong = Field::ALL.iter().copied().find(|field| form.problem(*field, now).is_some());
                if let (Some(field), None) = (wrong, form.manifest()) {
                    form.focus = field;
                }
                model.toast(Tone::Undone, "not submitted: see what is marked in the form");
                return Vec::new();
            };
            let Some(ticket) = ticket(model, Purpose::Submit { name: draft.name.clone() }) else {
                return Vec::new();
            };
            let Some(Layer::Submit(form)) = model.layers.last_mut() else { return Vec::new() };
            form.waiting = Some(ticket);
            let guild = form.guild.as_ref().map(|(id, _)| id.clone());
            vec![Effect::Submit { ticket, module, draft: Box::new(draft), guild }]
        }
        _ => Vec::new(),
    }
}
