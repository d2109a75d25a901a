//! Who is next: by priority, then by turns among those who want something, then in the order they asked.

use std::collections::{HashMap, VecDeque};

use super::super::Priority;

const LEVELS: [Priority; 3] = [Priority::Interactive, Priority::Task, Priority::Background];

/// A bounded queue in which nobody's thousand jobs stand before somebody else's one.
pub(super) struct Queue<T> {
    levels: [Level<T>; 3],
    length: usize,
}

/// One priority: each requester has a line of its own, and the lines take turns.
struct Level<T> {
    turns: VecDeque<String>,
    lines: HashMap<String, VecDeque<T>>,
}

impl<T> Default for Level<T> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), lines: HashMap::new() }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { levels: Default::default(), length: 0 }
    }
}

impl<T> Queue<T> {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Puts something at the end of its requester's line.
    pub(super) fn push(&mut self, priority: Priority, requester: &str, item: T) {
        self.add(priority, requester, |line| line.push_back(item));
    }

    /// Puts something back where it came from: at the front of the line, which has the next turn.
    pub(super) fn push_back_first(&mut self, priority: Priority, requester: &str, item: T) {
        self.add(priority, requester, |line| line.push_front(item));
        let level = self.level(priority);
        if let Some(at) = level.turns.iter().position(|name| name == requester)
            && let Some(name) = level.turns.remove(at)
        {
            level.turns.push_front(name);
        }
    }

    fn add(&mut self, priority: Priority, requester: &str, put: impl FnOnce(&mut VecDeque<T>)) {
        self.length = self.length.saturating_add(1);
        let level = self.level(priority);
        match level.lines.get_mut(requester) {
            Some(line) => put(line),
            None => {
                let mut line = VecDeque::new();
                put(&mut line);
                level.lines.insert(requester.to_owned(), line);
                level.turns.push_back(requester.to_owned());
            }
        }
    }

    /// The first of those whose turn it could be that `may` says yes to: the heads of all lines, in the order of their turns.
    pub(super) fn pop_first(&mut self, mut may: impl FnMut(&T) -> bool) -> Option<T> {
        for level in &mut self.levels {
            let lines = &level.lines;
            let mut turns = level.turns.iter();
            let Some(turn) =
                turns.position(|name| lines.get(name).and_then(VecDeque::front).is_some_and(&mut may))
            else {
                continue;
            };
            let name = level.turns.remove(turn)?;
            let line = level.lines.get_mut(&name)?;
            let item = line.pop_front();
            if line.is_empty() {
                level.lines.remove(&name);
            } else {
                level.turns.push_back(name);
            }
            self.length = self.length.saturating_sub(usize::from(item.is_some()));
            return item;
        }
        None
    }

    /// How many a requester has in it.
    pub(super) fn of(&self, requester: &str) -> usize {
        let lines = self.levels.iter().filter_map(|level| level.lines.get(requester));
        lines.map(VecDeque::len).fold(0, usize::saturating_add)
    }

    /// Takes out whatever `unwanted` says yes to.
    pub(super) fn remove(&mut self, mut unwanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        for level in &mut self.levels {
            for line in level.lines.values_mut() {
                for item in std::mem::take(line) {
                    if unwanted(&item) { removed.push(item) } else { line.push_back(item) }
                }
            }
            level.lines.retain(|_, line| !line.is_empty());
            level.turns.retain(|name| level.lines.contains_key(name));
        }
        self.length = self.length.saturating_sub(removed.len());
        removed
    }

    fn level(&mut self, priority: Priority) -> &mut Level<T> {
        let at = LEVELS.iter().position(|level| *level == priority).unwrap_or_default();
        let [first, second, third] = &mut self.levels;
        match at {
            0 => first,
            1 => second,
            _ => third,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut Queue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop_first(|_| true)).collect()
    }

    #[test]
    fn requesters_take_turns_and_each_is_served_in_its_order() {
        let mut queue = Queue::default();
        (1..=4).for_each(|n| queue.push(Priority::Task, "greedy", n));
        (11..=12).for_each(|n| queue.push(Priority::Task, "modest", n));
        queue.push(Priority::Background, "greedy", 31);
        queue.push(Priority::Interactive, "greedy", 21);
        assert_eq!(queue.len(), 8);
        assert_eq!(all(&mut queue), [21, 1, 11, 2, 12, 3, 4, 31]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn one_that_may_not_go_yet_keeps_its_turn_and_those_behind_it_in_its_line_wait() {
        let mut queue = Queue::default();
        queue.push(Priority::Task, "a", 9);
        queue.push(Priority::Task, "a", 2);
        queue.push(Priority::Task, "b", 8);
        queue.push(Priority::Task, "c", 1);
        queue.push(Priority::Background, "d", 3);
        assert_eq!((queue.of("a"), queue.of("d"), queue.of("e")), (2, 1, 0));
        let mut asked = Vec::new();
        let mut small = |n: &u32| {
            asked.push(*n);
            *n < 5
        };
        assert_eq!(queue.pop_first(&mut small), Some(1));
        assert_eq!(queue.pop_first(&mut small), Some(3));
        assert_eq!(queue.pop_first(&mut small), None);
        assert_eq!(asked, [9, 8, 1, 9, 8, 3, 9, 8]);
        assert_eq!(all(&mut queue), [9, 8, 2]);
    }

    #[test]
    fn what_comes_back_goes_first_and_what_is_not_wanted_goes_away() {
        let mut queue = Queue::default();
        queue.push(Priority::Task, "a", 1);
        queue.push(Priority::Task, "b", 2);
        queue.push(Priority::Task, "b", 3);
        queue.push_back_first(Priority::Task, "b", 0);
        assert_eq!(queue.remove(|n| *n == 2), [2]);
        assert_eq!(queue.len(), 3);
        assert_eq!(all(&mut queue), [0, 1, 3]);
    }
}
