//! Guilds, as forms and questions.

use zerostate::api::{Answer, ApiError, Command, ErrorKind, GuildAnswer, GuildCommand, GuildView, Missed};

use super::{model, press, selected, ticket};
use crate::console::layers::Layer;
use crate::console::model::Pane;
use crate::console::msg::{Effect, Msg};
use crate::console::samples;
use crate::console::update::update;

#[test]
fn a_guild_is_founded_by_a_form_that_stays_until_the_node_has_answered() {
    let mut model = model();
    press(&mut model, "2 n nightly ctrl-s");
    let Some(Layer::Guild(form)) = model.layers.last() else { panic!("no form") };
    assert!(form.waiting.is_some());
    let pending = model.pending.last().unwrap().ticket;
    let full = ApiError::new(ErrorKind::Failed, "this node is in 16384 guilds already\u{1b}[2J");
    update(&mut model, Msg::Answered { ticket: pending, result: Err(full) });
    let Some(Layer::Guild(form)) = model.layers.last() else { panic!("the form is gone") };
    let refused = form.refused.clone().unwrap();
    assert!(refused.contains("16384 guilds") && !refused.contains('\u{1b}'), "{refused}");

    let effects = press(&mut model, "ctrl-s");
    assert!(
        matches!(&effects[..], [Effect::Execute { command: Command::Guild(GuildCommand::Create { name, .. }), .. }] if name == "nightly")
    );
    let founded = GuildAnswer::Founded {
        guild_id: "bafkreig".into(),
        expires_at: samples::now(),
        invitation: "zsguild1.x.y".into(),
    };
    let effects =
        update(&mut model, Msg::Answered { ticket: ticket(&effects), result: Ok(Answer::Guild(founded)) });
    assert_eq!(effects, [], "the clipboard is the operator's");
    assert!(model.layers.is_empty());
    assert!(model.toasts.last().unwrap().text.contains("e makes an invitation"));
}

#[test]
fn an_invitation_is_copied_and_can_be_seen() {
    let mut model = model();
    for goes_on in [false, true] {
        let ticket = ticket(&press(&mut model, "2 e"));
        if goes_on {
            press(&mut model, "j");
        }
        let made = GuildAnswer::Invitation {
            guild_id: "bafkreig".into(),
            invitation: "zsguild1.x.y".into(),
            expires_at: samples::now(),
        };
        let effects = update(&mut model, Msg::Answered { ticket, result: Ok(Answer::Guild(made)) });
        assert_eq!(effects, [Effect::Copy("zsguild1.x.y".into())]);
        let shown =
            matches!(model.layers.last(), Some(Layer::Text(text)) if text.body.contains("zsguild1.x.y"));
        assert_eq!(shown, !goes_on, "who has gone on is not held up");
        press(&mut model, "esc");
    }
}

#[test]
fn what_is_said_in_a_guild_is_said_and_the_line_is_free_for_more() {
    let mut model = model();
    let effects = press(&mut model, "2 t hello enter");
    let [Effect::Execute { ticket, command: Command::Guild(GuildCommand::Say { guild_id, text }) }] =
        &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!((text.as_str(), guild_id), ("hello", &selected(&model, Pane::Guilds)));
    let missed = vec![Missed { did: samples::did(11), reason: "it cannot be reached from here".into() }];
    let said = GuildAnswer::Said { guild_id: guild_id.clone(), missed };
    update(&mut model, Msg::Answered { ticket: *ticket, result: Ok(Answer::Guild(said)) });
    let Some(Layer::Guild(form)) = model.layers.last() else { panic!("no form") };
    assert!(form.waiting.is_none() && form.lines[0].input.value().is_empty());
    assert!(model.toasts.last().unwrap().text.contains("did not take it"));
}

#[test]
fn an_own_guild_is_dissolved_and_another_left_only_after_a_yes() {
    let mut model = model();
    for own in [true, false] {
        let of = |guild: &GuildView| (guild.creator == samples::did(1)) == own;
        let guild = samples::busy().guilds.items.into_iter().find(of).unwrap();
        model.list_mut(Pane::Guilds).selected = Some(guild.guild_id.clone());
        assert!(press(&mut model, "2 x enter").is_empty(), "it stands at No");
        let effects = press(&mut model, "x y");
        let [Effect::Execute { command: Command::Guild(command), .. }] = &effects[..] else {
            panic!("{effects:?}")
        };
        let (dissolve, leave) = match command {
            GuildCommand::Dissolve { guild_id } => (Some(guild_id), None),
            GuildCommand::Leave { guild_id } => (None, Some(guild_id)),
            other => panic!("{other:?}"),
        };
        assert_eq!(if own { dissolve } else { leave }, Some(&guild.guild_id));
    }
}
