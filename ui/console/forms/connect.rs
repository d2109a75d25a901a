//! Connecting to a peer: one address.

use tui_input::Input;

/// The form.
#[derive(Debug, Default)]
pub struct ConnectForm {
    pub address: Input,
}

impl ConnectForm {
    /// With an address typed already.
    pub fn with(address: &str) -> Self {
        Self { address: Input::new(address.to_owned()) }
    }

    /// What is wrong with what was typed so far. The node has the last word.
    pub fn problem(&self) -> Option<&'static str> {
        let text = self.address.value().trim();
        if text.is_empty() {
            return None;
        }
        let hosts = ["/ip4/", "/ip6/", "/dns/", "/dns4/", "/dns6/"];
        if !hosts.iter().any(|host| text.starts_with(host) || host.starts_with(text)) {
            return Some("an address begins with /ip4/, /ip6/ or /dns/, like /ip4/192.0.2.7/tcp/4001");
        }
        if text.contains(char::is_whitespace) {
            return Some("an address has no spaces");
        }
        None
    }

    /// The address, when it can be tried.
    pub fn ready(&self) -> Option<String> {
        let text = self.address.value().trim();
        (!text.is_empty() && self.problem().is_none()).then(|| text.to_owned())
    }
}
