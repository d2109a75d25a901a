//! What a journal is read as.

use super::*;

const ME: &str = UNNAMED;

fn journal() -> String {
    let other = crate::identity::Identity::from_secret(&[3; 32]);
    let (peer, did) = (other.peer_id(), other.did().to_string());
    let receipt = crate::document::content_id(b"receipt").to_string();
    let lines = [
        r#""event":"started","version":"0.1.0""#.to_owned(),
        format!(r#""event":"peer-connected","peer_id":"{peer}","address":"/ip4/192.0.2.1/tcp/1""#),
        format!(r#""event":"peer-card","peer_id":"{peer}","did":"{did}","name":"atlas""#),
        format!(r#""event":"task","task_id":"aa","name":"t","step":"published","node":"{ME}","detail":null"#),
        format!(r#""event":"task","task_id":"aa","name":"t","step":"running","node":"{did}","detail":null"#),
        format!(
            r#""event":"receipt","receipt_id":"{receipt}","task_id":"aa","name":"t","executor":"{did}","status":"ok""#
        ),
        format!(
            r#""event":"task","task_id":"aa","name":"t","step":"receipted","node":"{did}","detail":null"#
        ),
        format!(
            r#""event":"attestation","attestation_id":"v","receipt_id":"{receipt}","name":"t","witness":"{ME}","verdict":"disagree""#
        ),
        format!(r#""event":"peer-disconnected","peer_id":"{peer}","reason":"gone""#),
    ];
    let line = |(i, what): (usize, &String)| {
        format!("{{\"seq\":{},\"at\":\"2026-11-23T14:02:0{i}Z\",{what}}}\n", i + 1)
    };
    lines.iter().enumerate().map(line).collect()
}

#[test]
fn every_moment_of_a_journal_can_be_seen() {
    let recording = Recording::read(&journal()).unwrap();
    let at = |count| recording.snapshot(count);
    assert_eq!(at(0).peers.len() + at(0).tasks.items.len(), 0);
    assert_eq!(at(2).peers[0].name, None);
    assert_eq!(at(3).peers[0].name.as_ref().unwrap().as_str(), "atlas");
    assert_eq!(at(4).tasks.items[0].record.state, TaskState::Published);
    assert_eq!((at(5).node.running, at(7).node.running), (1, 0));
    assert!(matches!(at(7).tasks.items[0].record.state, TaskState::Receipted { .. }));
    assert_eq!((at(7).receipts.items[0].disagree, at(8).receipts.items[0].disagree), (0, 1));
    assert_eq!((at(8).peers.len(), at(9).peers.len()), (1, 0));
    assert_eq!(at(9).events.items.len(), 9);
    // Back again, it is as it was.
    assert_eq!(at(5), Recording::read(&journal()).unwrap().snapshot(5));
}

#[test]
fn guilds_are_as_the_journal_of_a_node_tells_them() {
    let other = crate::identity::Identity::from_secret(&[3; 32]).did().to_string();
    let guild = crate::document::content_id(b"guild").to_string();
    let steps = [
        ("created", ME, "null"),
        ("joined", &other, "null"),
        ("role", &other, "\"executor\""),
        ("removed", &other, "null"),
        ("dissolved", ME, "null"),
    ];
    let line = |(i, (step, who, detail)): (usize, &(&str, &str, &str))| {
        format!(
            r#"{{"seq":{},"at":"2026-11-23T14:02:0{i}Z","event":"guild","guild_id":"{guild}","name":"g","step":"{step}","who":"{who}","detail":{detail}}}"#,
            i + 1
        )
    };
    let text: Vec<String> = steps.iter().enumerate().map(line).collect();
    let recording = Recording::read(&text.join("\n")).unwrap();
    let at = |count: usize| recording.snapshot(count).guilds.items;
    assert_eq!((at(1)[0].role.as_deref(), at(1)[0].members.len()), (Some("creator"), 1));
    assert_eq!(
        at(3)[0].members.iter().find(|member| member.did.to_string() == other).unwrap().role,
        "executor"
    );
    assert_eq!((at(4)[0].members.len(), at(5).len()), (1, 0));
    assert_eq!(recording.snapshot(1).node.did.to_string(), ME);
}

#[test]
fn pages_go_as_far_as_the_moment_that_is_shown() {
    let recording = Recording::read(&journal()).unwrap();
    recording.snapshot(5);
    let page = PageRequest { before: None, limit: 10 };
    let Ok(Answer::Receipts(none)) = recording.answer(&Command::Receipts { page }) else { panic!("no page") };
    assert_eq!(none.items.len(), 0);
    recording.snapshot(9);
    let Ok(Answer::Receipts(one)) = recording.answer(&Command::Receipts { page }) else { panic!("no page") };
    assert_eq!((one.items.len(), one.next), (1, None));
}

#[test]
fn an_array_is_a_journal_too_and_a_wrong_line_is_named() {
    let lines: Vec<String> = journal().lines().map(str::to_owned).collect();
    let array = format!("[{}]", lines.join(",\n"));
    assert_eq!(Recording::read(&array).unwrap().len(), 9);
    let wrong = Recording::read(&format!("{}\n{{}}", lines[0])).unwrap_err().to_string();
    assert!(wrong.starts_with("line 2 "), "{wrong}");
    assert!(matches!(Recording::read("\n"), Err(RecordingError::Empty)));
}
