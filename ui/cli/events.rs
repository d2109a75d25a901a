//! `zerostate events`: the journal.

use zerostate::api::{Answer, Answering as _, Command, Event};

use super::{Failure, Globals, Outcome, output};

/// Entries asked for at once.
const PAGE: u32 = 1_000;

#[derive(clap::Args)]
pub struct EventsVerb {
    /// Go on with what happens from now on, one entry a line
    #[arg(long)]
    follow: bool,
    /// Only entries after this number
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    after: u64,
}

pub async fn run(globals: &Globals, verb: &EventsVerb) -> Outcome {
    let client = globals.client().await?;
    if verb.follow {
        let mut broken = None;
        client
            .follow(verb.after, |event| {
                let shown = if globals.json { output::json(&event) } else { output::line(&sentence(&event)) };
                broken = shown.err();
                broken.is_none()
            })
            .await?;
        return broken.map_or_else(|| Err(Failure::failed("the node stopped")), Err);
    }
    let mut after = verb.after;
    let mut all = Vec::new();
    loop {
        let Answer::Events(events) = client.execute(Command::Events { after, limit: PAGE }).await? else {
            return Err(output::unexpected());
        };
        let Some(last) = events.last() else { break };
        after = last.seq;
        if globals.json {
            all.extend(events);
        } else {
            for event in &events {
                output::line(&sentence(event))?;
            }
        }
    }
    if globals.json {
        output::json(&all)?;
    }
    Ok(0)
}

fn sentence(event: &Event) -> String {
    format!("{:>6}  {}  {:<12}  {}", event.seq, output::clock(event.at), event.what.word(), event.what)
}
