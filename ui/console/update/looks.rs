//! How the console looks: themes, the mask over ids, the mouse; and what it can say of itself.

use super::actions::push;
use crate::console::layers::{Facts, Layer, Themes};
use crate::console::model::{Model, Tone};
use crate::console::msg::Effect;

/// Takes the theme of that name, or shows all there are.
pub fn theme(model: &mut Model, name: &str) -> Vec<Effect> {
    if model.themes.len() < 2 {
        model.toast(Tone::Undone, "there are no colours here, so there is one theme");
        return Vec::new();
    }
    if !name.is_empty() {
        match model.themes.iter().find(|theme| theme.name == name) {
            Some(theme) => model.theme = theme.clone(),
            None => {
                let names: Vec<&str> = model.themes.iter().map(|theme| theme.name.as_str()).collect();
                let said = format!("no theme \"{name}\"; there are {}", names.join(", "));
                model.toast(Tone::Bad, said);
            }
        }
        return Vec::new();
    }
    let chosen = model.themes.iter().position(|theme| theme.name == model.theme.name).unwrap_or(0);
    let before = model.theme.clone();
    push(model, Layer::Themes(Themes { chosen, before }))
}

/// Masks ids and addresses, or shows them again.
pub fn privacy(model: &mut Model) -> Vec<Effect> {
    model.private = !model.private;
    Vec::new()
}

/// Catches the mouse, or lets the terminal have it for its own selection.
pub fn mouse(model: &mut Model) -> Vec<Effect> {
    model.mouse = !model.mouse;
    let said = if model.mouse {
        "the mouse chooses, opens and scrolls; Shift selects text in most terminals"
    } else {
        "the mouse is the terminal's"
    };
    model.toast(Tone::Info, said);
    vec![Effect::CatchMouse(model.mouse)]
}

/// Every path and version.
pub fn info(model: &mut Model) -> Vec<Effect> {
    let mut facts = model.settings.info.clone();
    let mut add = |label: &str, text: String| facts.push((label.to_owned(), text));
    add("theme", model.theme.name.clone());
    add("screen", format!("{} x {} cells", model.size.0, model.size.1));
    match &model.snapshot {
        Some(snapshot) if model.settings.replay.is_some() => {
            add("did", snapshot.node.did.to_string());
            add("peer id", snapshot.node.peer_id.clone());
        }
        None => add("node", "has not answered yet".to_owned()),
        Some(snapshot) => {
            let node = &snapshot.node;
            add("node", format!("zerostate {}", node.version));
            add("did", node.did.to_string());
            add("peer id", node.peer_id.clone());
            add("node data", node.data_dir.clone());
            for address in &node.listen {
                add("listens", address.to_string());
            }
            add("dht", format!("{} nodes", node.dht_peers));
            let (used, quota) = (node.store_used, node.store_quota);
            let bytes = zerostate::document::bytes_text;
            add("store", format!("{} of {}", bytes(used), bytes(quota)));
            add("attests", node.attest_policy.clone());
        }
    }
    push(model, Layer::Facts(Facts { title: "Info".to_owned(), facts, ..Facts::default() }))
}
