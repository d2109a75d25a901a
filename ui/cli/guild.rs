//! `zerostate guild create|list|show|join|invite|leave|admit|refuse|remove|role|dissolve|say|log`.

use std::time::Duration;

use serde_json::{Value, json};
use zerostate::api::{
    Answer, Answering as _, Client, Command, GuildAnswer, GuildCommand, GuildLine, GuildView,
};
use zerostate::config::Admit;

use super::run::millis;
use super::{Failure, Globals, Outcome, output};

/// How often a followed channel is looked at.
const FOLLOW: Duration = Duration::from_millis(250);

#[derive(clap::Subcommand)]
pub enum GuildVerb {
    /// Found a guild; prints its id and an invitation
    Create {
        #[arg(long, default_value = "guild")]
        name: String,
        /// How long it lasts, like 30m [default: 1h]
        #[arg(long, value_parser = millis)]
        ttl: Option<u64>,
        /// Members at once, this node among them [default: 50]
        #[arg(long)]
        capacity: Option<u32>,
        /// Who may come in: anybody (open), whom you say yes to (ask), who has an invitation (invite)
        /// [default: as in the configuration]
        #[arg(long, value_parser = admit)]
        admit: Option<Admit>,
    },
    /// List the guilds this node is in
    List {
        /// Those that were announced because anybody may join, instead
        #[arg(long)]
        open: bool,
    },
    /// Show a guild; of one this node is not in, what its charter says
    Show { guild: String },
    /// Join a guild, by its id or an invitation
    Join {
        /// bafkrei… or zsguild1.…
        #[arg(value_name = "GUILD|INVITATION")]
        guild: String,
        /// executor, member or observer
        #[arg(long, default_value = "member")]
        role: String,
    },
    /// Print an invitation to an own guild
    Invite {
        guild: String,
        /// How long it is good [default: as long as the guild lasts]
        #[arg(long, value_parser = millis)]
        ttl: Option<u64>,
    },
    /// Leave a guild; its creator dissolves it so
    Leave { guild: String },
    /// Take in somebody who asks to join
    Admit { guild: String, did: String },
    /// Do not take in somebody who asks to join
    Refuse { guild: String, did: String },
    /// Remove a member
    Remove { guild: String, did: String },
    /// Give a member another role
    Role { guild: String, did: String, role: String },
    /// End an own guild
    Dissolve { guild: String },
    /// Say something to the members
    Say {
        guild: String,
        #[arg(required = true, num_args = 1..)]
        text: Vec<String>,
    },
    /// Print what was said, and who came and went
    Log {
        guild: String,
        /// Go on printing as it comes
        #[arg(long)]
        follow: bool,
    },
}

fn admit(text: &str) -> Result<Admit, String> {
    serde_json::from_value(Value::from(text)).map_err(|_| "open, ask or invite is expected".to_owned())
}

pub async fn run(globals: &Globals, verb: GuildVerb) -> Outcome {
    let client = globals.client().await?;
    let command = match verb {
        GuildVerb::Log { guild, follow } => return log(globals, &client, guild, follow).await,
        GuildVerb::Create { name, ttl, capacity, admit } => {
            GuildCommand::Create { name, ttl_ms: ttl, capacity, admit }
        }
        GuildVerb::List { open: false } => GuildCommand::List,
        GuildVerb::List { open: true } => GuildCommand::Open,
        GuildVerb::Show { guild: place } => GuildCommand::Show { place },
        GuildVerb::Join { guild: place, role } => GuildCommand::Join { place, role },
        GuildVerb::Invite { guild: guild_id, ttl } => GuildCommand::Invite { guild_id, ttl_ms: ttl },
        GuildVerb::Leave { guild: guild_id } => GuildCommand::Leave { guild_id },
        GuildVerb::Admit { guild: guild_id, did } => GuildCommand::Admit { guild_id, did, yes: true },
        GuildVerb::Refuse { guild: guild_id, did } => GuildCommand::Admit { guild_id, did, yes: false },
        GuildVerb::Remove { guild: guild_id, did } => GuildCommand::Remove { guild_id, did },
        GuildVerb::Role { guild: guild_id, did, role } => GuildCommand::Role { guild_id, did, role },
        GuildVerb::Dissolve { guild: guild_id } => GuildCommand::Dissolve { guild_id },
        GuildVerb::Say { guild: guild_id, text } => GuildCommand::Say { guild_id, text: text.join(" ") },
    };
    let answer = ask(&client, command).await?;
    if globals.json { print_json(&answer) } else { print(&answer) }
}

async fn ask(client: &Client, command: GuildCommand) -> Result<GuildAnswer, Failure> {
    match client.execute(Command::Guild(command)).await? {
        Answer::Guild(answer) => Ok(answer),
        _ => Err(output::unexpected()),
    }
}

/// The value of the answer, without the word that says which it is.
fn print_json(answer: &GuildAnswer) -> Outcome {
    let mut value = serde_json::to_value(answer).unwrap_or_default();
    output::json(&value.get_mut("value").map(Value::take).unwrap_or_default())?;
    Ok(0)
}

fn print(answer: &GuildAnswer) -> Outcome {
    match answer {
        GuildAnswer::Done { .. } => output::line("done")?,
        GuildAnswer::Founded { guild_id, expires_at, invitation } => {
            output::pairs(&[("guild", guild_id.clone()), ("ends", expires_at.to_string())])?;
            output::line(&format!("invitation  {invitation}"))?;
        }
        GuildAnswer::Invitation { invitation, expires_at, .. } => {
            output::line(invitation)?;
            output::note(&format!("good until {expires_at}; whoever has it may join"));
        }
        GuildAnswer::Joined { guild_id, name, role, state } if state == "member" => {
            output::line(&format!("joined {name} as {role} ({guild_id})"))?;
        }
        GuildAnswer::Joined { guild_id, name, .. } => {
            output::line(&format!("asked to join {name}; its creator is to answer ({guild_id})"))?;
        }
        GuildAnswer::Guild(guild) => show(guild)?,
        GuildAnswer::Guilds(guilds) => list(guilds)?,
        GuildAnswer::Said { missed, .. } => {
            for missed in missed {
                output::note(&format!("not taken by {}: {}", missed.did, missed.reason));
            }
        }
        GuildAnswer::Lines(lines) => lines.iter().try_for_each(|line| output::line(&line_text(line)))?,
    }
    Ok(0)
}

fn list(guilds: &[GuildView]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = guilds
        .iter()
        .map(|guild| {
            vec![
                guild.guild_id.clone(),
                guild.name.to_string(),
                guild.role.clone().unwrap_or_else(|| "—".into()),
                if guild.members.is_empty() { "—".into() } else { guild.members.len().to_string() },
                guild.expires_at.to_string(),
                guild.state.clone(),
            ]
        })
        .collect();
    output::table(
        &["guild", "name", "role", "members", "ends", "state"],
        &rows,
        "no guilds; `zerostate guild create` founds one, `zerostate guild join` joins one",
    )
}

fn show(guild: &GuildView) -> Result<(), Failure> {
    output::pairs(&[
        ("guild", guild.guild_id.clone()),
        ("name", guild.name.to_string()),
        ("creator", guild.creator.to_string()),
        ("my role", guild.role.clone().unwrap_or_else(|| "none: this node is not in it".into())),
        ("state", guild.state.clone()),
        ("admits", json!(guild.admit).as_str().unwrap_or_default().to_owned()),
        ("capacity", guild.capacity.to_string()),
        ("ends", guild.expires_at.to_string()),
        ("epoch", guild.epoch.to_string()),
    ])?;
    let named =
        |name: &Option<zerostate::document::Untrusted>| name.as_ref().map_or("—".into(), ToString::to_string);
    let members = guild
        .members
        .iter()
        .map(|member| vec![member.role.clone(), named(&member.name), member.did.to_string()]);
    let asking = guild.asking.iter().map(|asking| {
        vec![format!("asks to be {}", asking.role), named(&asking.name), asking.did.to_string()]
    });
    let rows: Vec<_> = members.chain(asking).collect();
    if rows.is_empty() {
        return Ok(());
    }
    output::line("")?;
    output::table(&["role", "name", "did"], &rows, "")
}

fn line_text(line: &GuildLine) -> String {
    let who = line.name.as_ref().map_or_else(|| line.did.short(), ToString::to_string);
    let at = output::clock(line.at);
    match line.what.as_str() {
        "said" => format!("{at}  {who}: {}", line.text),
        what => format!("{at}  * {who} {what} {}", line.text),
    }
}

async fn log(globals: &Globals, client: &Client, guild: String, follow: bool) -> Outcome {
    let mut after = 0;
    loop {
        let command = GuildCommand::Log { guild_id: guild.clone(), after };
        let lines = match ask(client, command).await {
            Ok(GuildAnswer::Lines(lines)) => lines,
            Ok(_) => return Err(output::unexpected()),
            // It was there a moment ago.
            Err(error) if after > 0 => {
                output::note(error.message());
                return Ok(0);
            }
            Err(error) => return Err(error),
        };
        after = lines.last().map_or(after, |line| line.number);
        match (globals.json, follow) {
            (true, false) => output::json(&lines)?,
            (true, true) => lines.iter().try_for_each(output::json)?,
            (false, _) => lines.iter().try_for_each(|line| output::line(&line_text(line)))?,
        }
        if !follow {
            return Ok(0);
        }
        tokio::time::sleep(FOLLOW).await;
    }
}
