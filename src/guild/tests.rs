use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::config::Admit;
use crate::document::content_id;
use crate::identity::{Did, Identity};

/// Secrets are counted in the whole process, so tests that have some take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn did() -> Did {
    Identity::generate().unwrap().did().clone()
}

fn context(epoch: u64) -> Context {
    Context { guild: content_id(b"a guild"), epoch }
}

/// The table as the design has it, but that a creator may run its own task: what is not "yes" here may not be.
const TABLE: &str = "
    | admit, refuse, remove, change role, dissolve | yes | | | |
    | propose a manifest | yes | | yes | |
    | agree to a manifest | yes | yes | yes | |
    | run the task and sign its receipt | yes | yes | | |
    | attest | yes | yes | yes | yes |
    | speak in the channel | yes | yes | yes | |
    | leave | yes | yes | yes | yes |";

fn allowed(role: Role, action: Action) -> bool {
    let row = Action::ALL.into_iter().position(|other| other == action).unwrap();
    let column = Role::ALL.into_iter().position(|other| other == role).unwrap();
    let row = TABLE.trim().lines().nth(row).unwrap();
    row.split('|').nth(column + 2).unwrap().trim() == "yes"
}

#[test]
fn the_table_in_the_code_is_that_of_the_design() {
    for (role, action) in Role::ALL.into_iter().flat_map(|r| Action::ALL.into_iter().map(move |a| (r, a))) {
        assert_eq!(role.may(action), allowed(role, action), "{role} {action:?}");
    }
    assert_eq!("observer".parse::<Role>(), Ok(Role::Observer));
    assert!("king".parse::<Role>().unwrap_err().to_string().contains("\"king\""));
}

/// What happens in a guild, by and to one of a few people.
#[derive(Debug, Clone)]
enum Step {
    Join { who: usize, role: Role, invited_for: Option<i64> },
    Admit { by: usize, who: usize },
    Refuse { by: usize, who: usize },
    Remove { by: usize, who: usize },
    ChangeRole { by: usize, who: usize, role: Role },
    Leave { who: usize },
    Dissolve { by: usize },
    Hear { who: usize },
    Wait { seconds: i64 },
}

const PEOPLE: usize = 6;

fn step() -> impl Strategy<Value = Step> {
    let (who, by) = (0..PEOPLE, prop_oneof![3 => Just(0), 1 => 0..PEOPLE]);
    let role =
        prop_oneof![Just(Role::Creator), Just(Role::Executor), Just(Role::Member), Just(Role::Observer)];
    prop_oneof![
        6 => (who.clone(), role.clone(), proptest::option::of(-5..50_i64))
            .prop_map(|(who, role, invited_for)| Step::Join { who, role, invited_for }),
        4 => (by.clone(), who.clone()).prop_map(|(by, who)| Step::Admit { by, who }),
        1 => (by.clone(), who.clone()).prop_map(|(by, who)| Step::Refuse { by, who }),
        2 => (by.clone(), who.clone()).prop_map(|(by, who)| Step::Remove { by, who }),
        2 => (by.clone(), who.clone(), role).prop_map(|(by, who, role)| Step::ChangeRole { by, who, role }),
        1 => who.clone().prop_map(|who| Step::Leave { who }),
        1 => (1..PEOPLE).prop_map(|by| Step::Dissolve { by }),
        3 => who.prop_map(|who| Step::Hear { who }),
        2 => (1..40_i64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// A guild as simply as it can be told: who is in it as what, who asks, and when each was heard.
struct Model {
    admit: Admit,
    capacity: usize,
    /// Person, role, second in which it was heard.
    inside: HashMap<usize, (Role, i64)>,
    asking: HashMap<usize, Role>,
    removed: std::collections::HashSet<usize>,
    over: bool,
    now: i64,
}

const TTL: i64 = 300;

impl Model {
    fn may(&self, who: usize, action: Action) -> bool {
        !self.over && self.inside.get(&who).is_some_and(|(role, _)| allowed(*role, action))
    }

    fn end(&mut self) {
        self.over = true;
        self.inside.clear();
        self.asking.clear();
    }

    /// Whether the step is possible; if it is, it is taken.
    fn take(&mut self, step: &Step) -> bool {
        match *step {
            Step::Join { who, role, invited_for } => {
                let invited = invited_for.is_some_and(|seconds| seconds > 0);
                let stale = invited_for.is_some() && !invited;
                let closed = self.admit == Admit::Invite && invited_for.is_none();
                let full = self.inside.len() >= self.capacity;
                if self.over
                    || role == Role::Creator
                    || stale
                    || closed
                    || full
                    || self.inside.contains_key(&who)
                {
                    return false;
                }
                if (self.admit == Admit::Ask && !invited) || self.removed.contains(&who) {
                    self.asking.insert(who, role);
                } else {
                    self.asking.remove(&who);
                    self.inside.insert(who, (role, self.now));
                }
            }
            Step::Admit { by, who } => {
                let can = self.may(by, Action::Govern) && self.inside.len() < self.capacity;
                let Some(role) = self.asking.get(&who).copied().filter(|_| can) else { return false };
                self.asking.remove(&who);
                self.removed.remove(&who);
                self.inside.insert(who, (role, self.now));
            }
            Step::Refuse { by, who } => {
                return self.may(by, Action::Govern) && self.asking.remove(&who).is_some();
            }
            Step::Remove { by, who } => {
                let can = self.may(by, Action::Govern) && who != 0 && self.inside.remove(&who).is_some();
                if can {
                    self.removed.insert(who);
                }
                return can;
            }
            Step::ChangeRole { by, who, role } => {
                if !self.may(by, Action::Govern) || who == 0 || role == Role::Creator {
                    return false;
                }
                let Some(member) = self.inside.get_mut(&who) else { return false };
                member.0 = role;
            }
            Step::Leave { who } if !self.may(who, Action::Leave) => return false,
            Step::Leave { who: 0 } => self.end(),
            Step::Leave { who } => return self.inside.remove(&who).is_some(),
            Step::Dissolve { by } if !self.may(by, Action::Govern) => return false,
            Step::Dissolve { .. } => self.end(),
            Step::Hear { who } => {
                let now = self.now;
                let Some(member) = self.inside.get_mut(&who) else { return false };
                member.1 = now;
            }
            Step::Wait { seconds } => {
                self.now += seconds;
                let silent = |heard: i64| self.now - heard > 75;
                if self.over {
                } else if self.now >= TTL || self.inside.get(&0).is_some_and(|(_, heard)| silent(*heard)) {
                    self.end();
                } else {
                    let now = self.now;
                    self.inside.retain(|_, (_, heard)| now - *heard <= 75);
                }
            }
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_sequence_of_events_gives_what_the_table_denies_or_two_creators_or_too_many_members(
        steps in proptest::collection::vec(step(), 1..60),
        admit in prop_oneof![Just(Admit::Open), Just(Admit::Ask), Just(Admit::Invite)],
        capacity in 1..5_usize,
    ) {
        static FIXED: LazyLock<Vec<Did>> = LazyLock::new(|| (0..PEOPLE).map(|_| did()).collect());
        let people = &*FIXED;
        let start = Timestamp::UNIX_EPOCH;
        let at = |seconds: i64| start + SignedDuration::from_secs(seconds);
        let terms = Terms { creator: people[0].clone(), admit, capacity, expires_at: at(TTL) };
        let mut guild = Guild::new(terms, start);
        let inside = HashMap::from([(0, (Role::Creator, 0))]);
        let mut model = Model { admit, capacity, inside, asking: HashMap::new(), removed: Default::default(), over: false, now: 0 };
        for step in steps {
            let (before, epoch, now) = (guild.members().clone(), guild.epoch(), at(model.now));
            let possible = model.take(&step);
            let done = match &step {
                Step::Join { who, role, invited_for } => {
                    let until = invited_for.map(|seconds| now + SignedDuration::from_secs(seconds));
                    guild.join(&people[*who], *role, [1; 32], until, now).map(drop)
                }
                Step::Admit { by, who } => guild.admit(&people[*by], &people[*who], now).map(drop),
                Step::Refuse { by, who } => guild.refuse(&people[*by], &people[*who]).map(drop),
                Step::Remove { by, who } => guild.remove(&people[*by], &people[*who]).map(drop),
                Step::ChangeRole { by, who, role } => {
                    guild.change_role(&people[*by], &people[*who], *role).map(drop)
                }
                Step::Leave { who } => guild.leave(&people[*who]).map(drop),
                Step::Dissolve { by } => guild.dissolve(&people[*by]).map(drop),
                Step::Hear { who } => guild.hear(&people[*who], now),
                Step::Wait { .. } => {
                    guild.tick(at(model.now));
                    Ok(())
                }
            };
            prop_assert_eq!(done.is_ok(), possible, "{:?}: {:?}", step, done);
            let found: HashMap<usize, Role> = guild
                .members()
                .iter()
                .map(|(who, member)| (people.iter().position(|p| p == who).unwrap(), member.role))
                .collect();
            let expected: HashMap<usize, Role> = model.inside.iter().map(|(who, (role, _))| (*who, *role)).collect();
            prop_assert_eq!(&found, &expected, "{:?}", step);
            prop_assert_eq!(guild.ended().is_some(), model.over);
            prop_assert_eq!(guild.asking().count(), model.asking.len());
            prop_assert!(found.len() <= capacity.max(1));
            prop_assert_eq!(found.values().filter(|role| **role == Role::Creator).count(), usize::from(!model.over));
            for (who, person) in people.iter().enumerate() {
                for action in Action::ALL {
                    prop_assert_eq!(guild.may(person, action).is_ok(), model.may(who, action));
                }
            }
            let roles = |members: &std::collections::BTreeMap<Did, Member>| -> Vec<(Did, Role)> {
                members.iter().map(|(who, member)| (who.clone(), member.role)).collect()
            };
            let same_people = roles(&before) == roles(guild.members());
            prop_assert!(if same_people { guild.epoch() >= epoch } else { guild.epoch() > epoch }, "{:?}", step);
        }
    }
}

/// The people of one epoch, who share its secret by their keys.
fn epoch(number: u64, people: &[(Did, &GuildKey)]) -> Vec<EpochSecret> {
    let secret = EpochSecret::new([u8::try_from(number).unwrap(); 32]);
    let opened = people.iter().map(|(who, key)| {
        let wrapped = secret.wrap(&key.public(), &context(number), who, [9; 32]).unwrap();
        key.open(&wrapped, &context(number), who).unwrap()
    });
    opened.collect()
}

fn sealer(secret: &EpochSecret, number: u64, me: &Did) -> Sealer {
    Sealer::new(secret, context(number), me.clone()).unwrap()
}

#[test]
fn members_read_each_other_and_who_is_in_no_more_or_never_was_reads_nothing() {
    let _alone = alone();
    let (ann, bob, eve) = (did(), did(), did());
    let [key_ann, key_bob, key_eve] = [1, 2, 3].map(|n| GuildKey::new([n; 32]));
    let first = epoch(1, &[(ann.clone(), &key_ann), (bob.clone(), &key_bob)]);
    let [mine, yours] = <[EpochSecret; 2]>::try_from(first).unwrap_or_else(|_| panic!());
    let mut speaks = sealer(&mine, 1, &ann);
    let mut hears = Opener::new(yours, context(1));
    let said = speaks.seal(b"a known marker").unwrap();
    assert!(!said.text.windows(5).any(|part| part == b"known"));
    assert_eq!(&**hears.open(&said).unwrap(), b"a known marker");

    // Not under another name, counter, guild or epoch, and not with a bit changed.
    let again = speaks.seal(b"again").unwrap();
    for changed in [
        Sealed { sender: bob.clone(), ..again.clone() },
        Sealed { counter: 7, ..again.clone() },
        Sealed {
            text: {
                let mut text = again.text.clone();
                text[0] ^= 1;
                text
            },
            ..again.clone()
        },
    ] {
        assert_eq!(hears.open(&changed).unwrap_err(), KeyError::NotOpened);
    }
    assert_eq!(
        hears.open(&Sealed { epoch: 2, ..again.clone() }).unwrap_err(),
        KeyError::OtherEpoch { found: 2, current: 1 }
    );
    assert_eq!(&**hears.open(&again).unwrap(), b"again");

    // A secret that was sealed for one is opened by no other, nor for another guild or epoch.
    let secret = EpochSecret::new([5; 32]);
    let wrapped = secret.wrap(&key_bob.public(), &context(2), &bob, [8; 32]).unwrap();
    let elsewhere = Context { guild: content_id(b"another guild"), epoch: 2 };
    assert!(key_bob.open(&wrapped, &context(2), &bob).is_ok());
    for (key, context, who) in [
        (&key_eve, context(2), &bob),
        (&key_bob, context(2), &eve),
        (&key_bob, context(3), &bob),
        (&key_bob, elsewhere, &bob),
    ] {
        assert_eq!(key.open(&wrapped, &context, who).err(), Some(KeyError::NotOpened));
    }
    // Bob has left: with what he had he reads nothing of the next epoch.
    let [next] =
        <[EpochSecret; 1]>::try_from(epoch(2, &[(ann.clone(), &key_ann)])).unwrap_or_else(|_| panic!());
    let later = sealer(&next, 2, &ann).seal(b"without bob").unwrap();
    assert!(matches!(hears.open(&later), Err(KeyError::OtherEpoch { .. })));
    let [old] =
        <[EpochSecret; 1]>::try_from(epoch(1, &[(bob.clone(), &key_bob)])).unwrap_or_else(|_| panic!());
    assert_eq!(Opener::new(old, context(2)).open(&later).unwrap_err(), KeyError::NotOpened);
}

#[test]
fn what_comes_again_or_out_of_order_is_taken_once() {
    let _alone = alone();
    let ann = did();
    let secret = || EpochSecret::new([7; 32]);
    let mut speaks = sealer(&secret(), 1, &ann);
    let mut hears = Opener::new(secret(), context(1));
    let said: Vec<Sealed> = (0..3_000).map(|n: u32| speaks.seal(&n.to_be_bytes()).unwrap()).collect();
    for index in [5, 3, 4, 100, 70, 1_000] {
        assert!(hears.open(&said[index]).is_ok(), "{index}");
        assert_eq!(hears.open(&said[index]).unwrap_err(), KeyError::Replayed, "{index}");
    }
    assert!(hears.open(&said[200]).is_ok(), "out of order, within the window");
    assert!(hears.open(&said[2_999]).is_ok());
    assert_eq!(hears.open(&said[1_500]).unwrap_err(), KeyError::Replayed, "too old to tell");
    for index in (2_100..2_999).rev() {
        assert!(hears.open(&said[index]).is_ok(), "{index}");
    }
    for again in &said[2_100..] {
        assert_eq!(hears.open(again).unwrap_err(), KeyError::Replayed, "{}", again.counter);
    }
}

#[test]
fn no_key_and_counter_are_used_twice_over_a_million_messages_and_a_hundred_starts() {
    let _alone = alone();
    let (ann, mut first) = (did(), std::collections::HashSet::new());
    for life in 0..100_u8 {
        // Whoever starts again is given the secret of a new epoch; nothing of the old one is on disk.
        let secret = EpochSecret::new([life; 32]);
        let mut speaks = Sealer::new(&secret, context(u64::from(life) + 1), ann.clone()).unwrap();
        for expected in 0..10_000 {
            let sealed = speaks.seal(b"the same words").unwrap();
            assert_eq!(sealed.counter, expected);
            // Under one key and counter, the same words would be the same bytes.
            assert!(expected > 0 || first.insert(sealed.text));
        }
    }
}

#[test]
fn bad_keys_are_refused_and_secrets_are_gone_with_what_held_them() {
    let _alone = alone();
    let (ann, before) = (did(), live_secrets());
    // Points of small order (RFC 7748, section 6.1).
    let mut one = [0; 32];
    one[0] = 1;
    let secret = EpochSecret::new([1; 32]);
    for bad in [[0; 32], one] {
        assert_eq!(check_public(&bad), Err(KeyError::PublicKey));
        assert_eq!(secret.wrap(&bad, &context(1), &ann, [2; 32]).unwrap_err(), KeyError::PublicKey);
    }
    let key = GuildKey::new([3; 32]);
    let mut speaks = sealer(&secret, 1, &ann);
    let mut hears = Opener::new(EpochSecret::new([1; 32]), context(1));
    hears.open(&speaks.seal(b"hello").unwrap()).unwrap();
    assert_eq!(speaks.seal(&vec![0; 160 * 1024 + 1]).unwrap_err(), KeyError::TooLong);
    assert_eq!(
        live_secrets() - before,
        5,
        "two of the epoch, one of the guild, one of each side of the channel"
    );
    drop((secret, key, speaks, hears));
    assert_eq!(live_secrets(), before);
}

#[test]
fn the_agreements_of_as_many_witnesses_as_a_manifest_may_ask_for_go_in_one_message() {
    use crate::document::{Agreement, Draw, Envelope, Seed};
    let _turn = alone();
    let who: Vec<Identity> = (0..34).map(|_| Identity::generate().unwrap()).collect();
    let dids: Vec<Did> = who.iter().map(|one| one.did().clone()).collect();
    let mut pool: Vec<Did> =
        (0..Draw::POOL_MAX).map(|_| Identity::generate().unwrap().did().clone()).collect();
    pool.sort_unstable();
    let seed = Seed { creator_nonce: [1; 32], executor_nonce: [2; 32], attempt: 1 };
    let draw = Draw { pool, seed: Some(seed) };
    let witnesses = draw.witnesses(&content_id(b"a manifest"), &dids[0], 32);
    let agreements = who.iter().map(|member| {
        // The executor and the creator have drawn.
        let draws = [&dids[0], &dids[33]].contains(&member.did());
        let agreement = Agreement {
            draw: draws.then(|| draw.clone()),
            guild: content_id(b"a guild"),
            manifest: content_id(b"a manifest"),
            executor: dids[0].clone(),
            witnesses: witnesses.clone(),
            member: member.did().clone(),
            agreed_at: Timestamp::now(),
        };
        Bytes(Envelope::sign(member, &agreement).unwrap().bytes().to_vec())
    });
    let begin = Content::Begin { manifest: content_id(b"a manifest"), agreements: agreements.collect() };
    let text = begin.bytes().unwrap();
    assert_eq!(Content::read(&text).unwrap(), begin);
    let secret = EpochSecret::new([7; 32]);
    let sealed = Sealer::new(&secret, context(1), dids[33].clone()).unwrap().seal(&text).unwrap();
    let ask = wire::Ask::new(content_id(b"a guild"), wire::What::Message(sealed));
    assert_eq!(wire::Ask::read(&ask.bytes().unwrap()).unwrap(), ask);
}
