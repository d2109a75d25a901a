//! Everything a key or the palette can ask for, by name.

/// Declares the actions with the names that `assets/keymap.toml` uses and what the palette says of them.
macro_rules! actions {
    ($($variant:ident $name:literal $about:literal,)*) => {
        /// Something the operator can ask for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action { $(#[doc = $about] $variant,)* }

        impl Action {
            /// Every action there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in a key file and in the palette.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One line for the palette.
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }
        }
    };
}

actions! {
    Submit "submit" "submit a task: a module or a manifest",
    Connect "connect" "connect to a peer by its address",
    Attest "attest" "run a receipt's task again, and sign what is found or not",
    AttestMarked "attest.marked" "run the marked receipts' tasks again, and sign what is found or not",
    Cancel "cancel" "stop a task that has no receipt yet",
    GuildNew "guild.new" "found a guild",
    GuildJoin "guild.join" "join a guild by its id or an invitation",
    GuildSay "guild.say" "say something in the guild",
    GuildSubmit "guild.submit" "submit a task to the guild alone",
    GuildInvite "guild.invite" "make an invitation to the guild and copy it",
    GuildLeave "guild.leave" "leave the guild; dissolve it, if it is yours",
    Why "why" "why a task runs where it runs",
    Manifest "manifest" "show the manifest",
    Output "output" "show what the task printed",
    Compare "compare" "what each witness found, beside what the receipt says",
    Bundle "bundle" "write the receipt with all that proves it into a file",
    Guild "guild.open" "open the guild that it was done in",
    Open "open" "open what is selected",
    Copy "copy" "copy the id that is selected",
    Accept "accept" "say yes to what waits in the inbox",
    Refuse "refuse" "say no to what waits in the inbox",
    Filter "filter" "show only what contains these words; in something open, look for a word",
    FindNext "find.next" "to the next place where what is looked for stands",
    FindPrevious "find.previous" "to the place before where what is looked for stands",
    Sort "sort" "sort by the next column",
    SortReverse "sort.reverse" "sort the other way round",
    LogLevel "log.level" "show less of the log: warnings, then errors, then all again",
    Mark "mark" "mark or unmark the selected row",
    MarkAll "mark.all" "mark every row that is shown, or none",
    Zoom "zoom" "give the focused pane the whole screen",
    Freeze "freeze" "hold what is shown still, or let it go on",
    Help "help" "the keys of where one is",
    Palette "palette" "find a command by name",
    Theme "theme" "choose a theme and see it at once, or take the one named",
    Privacy "privacy" "mask ids and addresses, for pictures",
    Mouse "mouse" "let the mouse choose, open and scroll, or leave it to the terminal",
    Info "info" "every path and version",
    PanePeers "pane.peers" "go to the peers",
    PaneGuilds "pane.guilds" "go to the guilds",
    PaneTasks "pane.tasks" "go to the tasks",
    PaneReceipts "pane.receipts" "go to the receipts",
    PaneAttestations "pane.attestations" "go to the attestations",
    PaneEvents "pane.events" "go to the events",
    PaneInbox "pane.inbox" "go to the inbox",
    PaneLog "pane.log" "go to the log",
    PaneNext "pane.next" "go to the next pane",
    PanePrevious "pane.previous" "go to the previous pane",
    Up "up" "one up",
    Down "down" "one down",
    HalfUp "half-page-up" "half a page up",
    HalfDown "half-page-down" "half a page down",
    PageUp "page-up" "a page up",
    PageDown "page-down" "a page down",
    First "first" "to the first",
    Last "last" "to the last; a list that follows goes on following",
    Back "back" "one level back",
    ReplayBack "replay.back" "to the entry of the journal before",
    ReplayForward "replay.forward" "to the next entry of the journal",
    ReplayFarBack "replay.far-back" "a tenth of the journal back",
    ReplayFarForward "replay.far-forward" "a tenth of the journal on",
    ReplayPlay "replay.play" "let the journal run, an entry after the other, or stop it",
    Browse "form.browse" "choose a file from a list",
    Edit "form.edit" "write the manifest in the editor",
    FilesUp "files.up" "the folder above",
    FilesHidden "files.hidden" "show hidden files, or do not",
    FieldNext "field.next" "the next field",
    FieldPrevious "field.previous" "the previous field",
    FieldComplete "field.complete" "complete a path, or the next field",
    FieldEnter "field.enter" "the next field; on the last one, submit",
    FormSubmit "form.submit" "submit the form",
    Yes "yes" "yes",
    No "no" "no",
    Toggle "toggle" "the other answer",
    Choose "choose" "take what is chosen",
    Repaint "repaint" "paint the screen anew",
    Suspend "suspend" "suspend to the shell",
    Quit "quit" "quit; asks when tasks run",
    Interrupt "interrupt" "stop in good order; twice within two seconds, at once",
    DebugPanic "debug.panic" "crash on purpose, here or \"elsewhere\" in the program, to see the terminal restored",
}

impl Action {
    /// The action of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name() == name)
    }

    /// Whether the palette offers it: what only moves about, or only makes sense inside a form, it does not.
    pub fn in_palette(self) -> bool {
        !matches!(
            self,
            Self::Up
                | Self::Down
                | Self::HalfUp
                | Self::HalfDown
                | Self::PageUp
                | Self::PageDown
                | Self::First
                | Self::Last
                | Self::Back
                | Self::FindNext
                | Self::FindPrevious
                | Self::Browse
                | Self::Edit
                | Self::FilesUp
                | Self::FilesHidden
                | Self::FieldNext
                | Self::FieldPrevious
                | Self::FieldComplete
                | Self::FieldEnter
                | Self::FormSubmit
                | Self::Yes
                | Self::No
                | Self::Toggle
                | Self::Choose
                | Self::Palette
                | Self::Interrupt
        )
    }

    /// Whether it needs a node that runs, which a journal that is replayed is not.
    pub fn needs_a_node(self) -> bool {
        matches!(
            self,
            Self::Submit
                | Self::Connect
                | Self::Attest
                | Self::AttestMarked
                | Self::Cancel
                | Self::GuildNew
                | Self::GuildJoin
                | Self::GuildSay
                | Self::GuildSubmit
                | Self::GuildInvite
                | Self::GuildLeave
                | Self::Accept
                | Self::Refuse
                | Self::Bundle
                | Self::Manifest
                | Self::Output
                | Self::Compare
        )
    }

    /// Whether the palette takes a word after its name.
    pub fn takes_argument(self) -> bool {
        matches!(
            self,
            Self::Connect
                | Self::Theme
                | Self::Submit
                | Self::GuildJoin
                | Self::GuildSubmit
                | Self::DebugPanic
        )
    }
}
