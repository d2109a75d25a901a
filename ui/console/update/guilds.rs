//! Guilds: what is asked of them by keys and forms, and what comes of it.

use zerostate::api::{ApiError, Command, GuildAnswer, GuildCommand, GuildView, short_id};
use zerostate::guild::{self, Role};

use super::actions::{push, with_selected};
use super::{execute, layered};
use crate::console::action::Action;
use crate::console::details::{self, Subject};
use crate::console::forms::guild::GuildForm;
use crate::console::layers::{Confirm, Confirmed, Layer, Text};
use crate::console::model::{Model, Pane, Tone};
use crate::console::msg::Effect;
use crate::console::panes::Entry;
use crate::console::pending::Purpose;

/// The guild that is selected or open.
fn guild_here(model: &mut Model) -> Option<GuildView> {
    let here = match model.layers.last() {
        Some(Layer::Detail(detail)) => match &detail.subject {
            Subject::Guild { id } => details::guild::find(id, model).cloned(),
            _ => None,
        },
        Some(_) => None,
        None => with_selected(model, |entry| match entry {
            Entry::Guild(guild) => Some((*guild).clone()),
            _ => None,
        }),
    };
    if here.is_none() {
        model.toast(Tone::Undone, "select a guild first");
    }
    here
}

/// The same, where this node may propose tasks in it; the node would refuse when all is typed.
pub fn guild_to_propose_in(model: &mut Model) -> Option<GuildView> {
    let guild = guild_here(model)?;
    let role = guild.role.as_deref().and_then(|role| role.parse::<Role>().ok());
    let why = match role {
        _ if guild.state != "member" => "you are not in it yet".to_owned(),
        Some(role) if !role.may(guild::Action::Propose) => {
            format!("its role {role} may not {}", guild::Action::Propose.as_str())
        }
        _ => return Some(guild),
    };
    model.toast(Tone::Undone, format!("no task to {}: {why}", guild.name));
    None
}

/// Opens the line to say something in a guild.
pub fn say(model: &mut Model) -> Vec<Effect> {
    let Some(guild) = guild_here(model) else { return Vec::new() };
    push(model, Layer::Guild(GuildForm::say(guild.guild_id, guild.name)))
}

/// Has an invitation made, to be copied.
pub fn invite(model: &mut Model) -> Vec<Effect> {
    let Some(guild) = guild_here(model) else { return Vec::new() };
    let command = GuildCommand::Invite { guild_id: guild.guild_id, ttl_ms: None };
    let purpose = Purpose::Invite { name: guild.name.to_string(), inputs: model.inputs };
    execute(model, Command::Guild(command), purpose)
}

/// Asks before a guild is left.
pub fn leave(model: &mut Model) -> Vec<Effect> {
    let Some(guild) = guild_here(model) else { return Vec::new() };
    let own = model.me() == Some(&guild.creator);
    let (title, yes, what) = match own {
        true => ("Dissolve", "Dissolve it", "The guild ends for everybody in it, and its keys are wiped."),
        false => ("Leave", "Leave it", "You are out of it, and cannot read what is said in it later."),
    };
    let me = model.me().map(ToString::to_string).unwrap_or_default();
    let facts = vec![
        ("guild".to_owned(), guild.guild_id.clone()),
        ("members".to_owned(), guild.members.len().to_string()),
        ("what".to_owned(), what.to_owned()),
        ("by".to_owned(), format!("you  {me}")),
    ];
    let warning = if own { "A guild that is dissolved does not come back." } else { "" };
    let title = format!("{title} {}", guild.name);
    let what = Confirmed::Leave { guild_id: guild.guild_id, name: guild.name.to_string(), own };
    let question = Confirm::new(title, facts, warning, yes.to_owned(), what);
    push(model, Layer::Confirm(question))
}

/// Asks the node what the form says; the form stays until it has answered.
pub fn submit(model: &mut Model) -> Vec<Effect> {
    let Some(Layer::Guild(form)) = model.layers.last_mut() else { return Vec::new() };
    form.tried = true;
    let Some(command) = form.command() else {
        let wrong = (0..form.lines.len()).find(|at| form.problem(*at).is_some());
        form.focus = wrong.unwrap_or(form.focus);
        return Vec::new();
    };
    let effects = execute(model, Command::Guild(command), Purpose::GuildForm);
    if let (Some(Layer::Guild(form)), [Effect::Execute { ticket, .. }]) =
        (model.layers.last_mut(), effects.as_slice())
    {
        form.waiting = Some(*ticket);
        form.refused = None;
    }
    effects
}

/// The node has refused what a form asked: it is said where it was asked, or in the corner when the form is gone.
pub fn refused(model: &mut Model, ticket: u64, why: &str) {
    match layered::asking(model, ticket) {
        Some(form) => form.refuse(why),
        None => model.toast(Tone::Bad, format!("not done: {why}")),
    }
}

/// The node's answer to a form, or to what was asked by a key.
pub fn answered(model: &mut Model, ticket: u64, purpose: Purpose, answer: GuildAnswer) -> Vec<Effect> {
    match (purpose, answer) {
        (Purpose::GuildForm, GuildAnswer::Founded { guild_id, .. }) => {
            if layered::close(model, ticket) {
                model.focus_on(Pane::Guilds);
                model.list_mut(Pane::Guilds).selected = Some(guild_id.clone());
            }
            let key = model.key_of(&["guilds"], Action::GuildInvite);
            let said = format!("guild {} is there; {key} makes an invitation to it", short_id(&guild_id));
            model.toast(Tone::Good, said);
            Vec::new()
        }
        (Purpose::GuildForm, GuildAnswer::Joined { guild_id, name, role, state }) => {
            if layered::close(model, ticket) {
                model.focus_on(Pane::Guilds);
                model.list_mut(Pane::Guilds).selected = Some(guild_id);
            }
            let said = match state.as_str() {
                "asking" => format!("{name}: its creator is asked"),
                _ => format!("in {name} as {role}"),
            };
            model.toast(Tone::Good, said);
            Vec::new()
        }
        (Purpose::GuildForm, GuildAnswer::Said { missed, .. }) => {
            if let Some(Layer::Guild(form)) = layered::asking(model, ticket) {
                form.clear();
            }
            for one in missed {
                let who = model.name_of(&one.did);
                model.toast(Tone::Bad, format!("{who} did not take it: {}", one.reason));
            }
            Vec::new()
        }
        (Purpose::Invite { name, inputs }, GuildAnswer::Invitation { invitation, .. }) => {
            model.toast(Tone::Good, format!("sent to terminal: an invitation to {name}"));
            // Not every terminal takes it; but who has gone on is not held up.
            if inputs == model.inputs {
                let body = format!("{invitation}\n\nWhoever has it can join while the guild lasts.");
                let title = format!("Invitation to {name}");
                push(model, Layer::Text(Text { title, body, ..Text::default() }));
            }
            vec![Effect::Copy(invitation)]
        }
        (Purpose::Leave { guild_id, name, own }, GuildAnswer::Done { .. }) => {
            let shown = Subject::Guild { id: guild_id };
            if matches!(model.layers.last(), Some(Layer::Detail(detail)) if detail.subject == shown) {
                model.layers.pop();
            }
            model.toast(
                Tone::Good,
                if own { format!("{name} is dissolved") } else { format!("{name} is left") },
            );
            Vec::new()
        }
        (_, other) => {
            tracing::debug!(?other, "another answer about a guild");
            refused(model, ticket, &ApiError::unexpected().said());
            Vec::new()
        }
    }
}
