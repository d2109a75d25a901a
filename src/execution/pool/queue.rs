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

    /// The next one, if `fits` says yes to it. Nobody overtakes one that has to wait: its turn would never come.
    pub(super) fn pop_if(&mut self, fits: impl FnOnce(&T) -> bool) -> Option<T> {
        let level = self.levels.iter_mut().find(|level| !level.turns.is_empty())?;
        let name = level.turns.front()?;
        let line = level.lines.get_mut(name)?;
        if !line.front().is_some_and(fits) {
            return None;
        }
        let item = line.pop_front();
        let emptied = line.is_empty();
        if let Some(name) = level.turns.pop_front() {
            if emptied {
                level.lines.remove(&name);
            } else {
                level.turns.push_back(name);
            }
        }
        self.length = self.length.saturating_sub(usize::from(item.is_some()));
        item
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
        std::iter::from_fn(|| queue.pop_if(|_| true)).collect()
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
    fn nobody_overtakes_one_that_does_not_fit_yet() {
        let mut queue = Queue::default();
        queue.push(Priority::Task, "a", 9);
        queue.push(Priority::Task, "b", 1);
        assert_eq!(queue.pop_if(|n| *n < 5), None);
        assert_eq!(all(&mut queue), [9, 1]);
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
