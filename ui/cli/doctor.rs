//! `zerostate doctor`: is this machine and this data directory fit for a node?

use std::path::Path;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use zerostate::api::Client;
use zerostate::document::{Status, bytes_text};
use zerostate::execution::{Job, Protections, Runners, RunnersConfig};
use zerostate::identity::load_or_create;

use super::{Failure, Globals, Outcome, home, lab, output};

/// Under this a node cannot keep what it is given.
const DISK_MIN: u64 = 256 << 20;

struct Check {
    what: &'static str,
    fine: bool,
    found: String,
}

pub async fn run(globals: &Globals) -> Outcome {
    let data_dir = globals.data_dir()?;
    let mut checks = vec![
        Check { what: "data directory", fine: true, found: data_dir.display().to_string() },
        configuration(globals),
        key(&data_dir)?,
        node(&data_dir).await,
        disk(&data_dir),
    ];
    checks.extend(runner().await);
    let broken = checks.iter().filter(|check| !check.fine).count();
    if globals.json {
        let rows: Vec<_> =
            checks.iter().map(|c| json!({ "check": c.what, "ok": c.fine, "found": c.found })).collect();
        output::json(&json!({ "ok": broken == 0, "checks": rows }))?;
    } else {
        for check in &checks {
            output::line(&format!(
                "{} {:<16}{}",
                if check.fine { "✓" } else { "✗" },
                check.what,
                check.found
            ))?;
        }
    }
    if broken == 0 {
        Ok(0)
    } else {
        Err(Failure::failed(format!("{broken} of {} checks failed", checks.len())))
    }
}

fn configuration(globals: &Globals) -> Check {
    let what = "configuration";
    let wrong = |found: String| Check { what, fine: false, found };
    match globals.load_config() {
        Ok(config) => {
            let network = &config.network;
            let lists = [("network.listen", &network.listen), ("network.bootstrap", &network.bootstrap)];
            for (field, addresses) in lists {
                for address in addresses {
                    if let Err(error) = zerostate::network::check_address(address) {
                        return wrong(format!("{field}: {error}"));
                    }
                }
            }
            if let Err(error) = zerostate::telemetry::check_filter(&config.log.filter) {
                return wrong(format!("log.filter: {error}"));
            }
            Check {
                what,
                fine: true,
                found: format!(
                    "attest {}, {} listen addresses",
                    config.policy.attest.as_str(),
                    config.network.listen.len()
                ),
            }
        }
        Err(failure) => wrong(failure.message().to_owned()),
    }
}

fn key(data_dir: &Path) -> Result<Check, Failure> {
    let path = data_dir.join("keys").join("node.pem");
    let what = "key";
    if !path.exists() {
        return Ok(Check { what, fine: true, found: "none yet; the first start makes one".to_owned() });
    }
    Ok(match home::with_passphrase(|passphrase| load_or_create(&path, passphrase))? {
        Ok(identity) => Check { what, fine: true, found: identity.did().to_string() },
        Err(error) => Check { what, fine: false, found: error.to_string() },
    })
}

async fn node(data_dir: &Path) -> Check {
    let found = match Client::connect(data_dir).await {
        Ok(client) => match client.snapshot().await {
            Ok(snapshot) => format!("running, {} peers", snapshot.peers.len()),
            Err(error) => return Check { what: "node", fine: false, found: error.to_string() },
        },
        Err(_) => "not running".to_owned(),
    };
    Check { what: "node", fine: true, found }
}

fn disk(data_dir: &Path) -> Check {
    let what = "disk";
    let nearest = data_dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(nearest) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            Check { what, fine: free >= DISK_MIN, found: format!("{} free", bytes_text(free)) }
        }
        Err(error) => Check { what, fine: false, found: error.to_string() },
    }
}

/// Runs the example for real: process start, limits and engine have to work together. And says what keeps guests in.
async fn runner() -> [Check; 2] {
    let (run, sandbox) = match Runners::new(RunnersConfig::default()) {
        Ok(runners) => {
            let ran = runners.run(Job::new(lab::EXAMPLE), None, CancellationToken::new()).await;
            (ran, runners.load().borrow().protections.clone())
        }
        Err(error) => (Err(error), None),
    };
    let wrong = |found: String| (false, found);
    let (fine, found) = match run {
        Ok(outcome) if outcome.status == Status::Ok => {
            let engine = outcome.environment;
            let fuel = outcome.fuel_used;
            (true, format!("{} {} ran the example, {fuel} fuel", engine.engine, engine.version))
        }
        Ok(outcome) => {
            wrong(format!("the example ended with {}: {}", outcome.status, outcome.error.unwrap_or_default()))
        }
        Err(error) => wrong(error.to_string()),
    };
    let (locked, how) = match sandbox {
        None => wrong("no runner has started".to_owned()),
        Some(Protections { landlock: Ok(()), seccomp: Ok(()) }) => {
            (true, "limits, Landlock and seccomp".to_owned())
        }
        Some(Protections { landlock, seccomp }) => {
            let missing = [("Landlock", landlock), ("seccomp", seccomp)].into_iter();
            let missing: Vec<String> =
                missing.filter_map(|(what, state)| Some(format!("{what}: {}", state.err()?))).collect();
            wrong(format!("guests are kept in by less than they should be: {}", missing.join(", ")))
        }
    };
    [Check { what: "runner", fine, found }, Check { what: "sandbox", fine: locked, found: how }]
}
