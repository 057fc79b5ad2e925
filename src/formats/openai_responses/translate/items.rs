//! The items of a provider's stream, in the order in which they began.

use crate::formats::translate::{Failure, Json};

/// Bytes of items that are held because another is still open.
const MAX_HELD: usize = 4 << 20;
/// Items of output.
const MOST_ITEMS: usize = 4_096;

/// The items.
#[derive(Debug, Default)]
pub(super) struct Items {
    all: Vec<Item>,
    /// Bytes of their ids.
    named: usize,
    /// Bytes of those that wait.
    held: usize,
}

#[derive(Debug)]
struct Item {
    id: Option<String>,
    index: Option<u64>,
    state: State,
}

/// How far an item is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// Another is open. The item is here once the provider has ended it.
    Waiting(Option<Json>),
    /// It is the one that is open.
    Open,
    /// All of it has been read.
    Ended,
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    Reasoning,
    Call,
}

impl Kind {
    /// What an item is; `None` for those of tools that the provider runs.
    pub(super) fn of(item: &Json) -> Option<Self> {
        Some(match item.at("type").text()? {
            "message" => Self::Message,
            "reasoning" => Self::Reasoning,
            "function_call" | "custom_tool_call" => Self::Call,
            _ => return None,
        })
    }
}

impl Items {
    /// Adds the item of an event. It waits.
    pub(super) fn add(&mut self, event: &Json, item: &Json) -> Result<usize, Failure> {
        let id = item.at("id").words();
        self.named += id.map_or(0, str::len);
        if self.all.len() >= MOST_ITEMS || self.named > MAX_HELD {
            let why = "the provider's response has too many items";
            return Err(Failure::new(why));
        }
        self.all.push(Item {
            id: id.map(str::to_owned),
            index: event.at("output_index").whole(),
            state: State::Waiting(None),
        });
        Ok(self.all.len() - 1)
    }

    /// The item that an event is about; `open` if the event doesn't say. Some servers give all items one
    /// index, and some name an item by another id in each event.
    pub(super) fn find(&self, event: &Json, open: Option<usize>) -> Option<usize> {
        let id = event.at("item_id").words();
        let id = id.or(event.at("item").at("id").words());
        let index = event.at("output_index").whole();
        if id.is_none() && index.is_none() {
            return open;
        }
        let same_id = |item: &Item| id.is_some() && item.id.as_deref() == id;
        if let Some(nth) = self.all.iter().rposition(same_id) {
            return Some(nth);
        }
        let same_index = |item: &Item| index.is_some() && item.index == index;
        let first = self.all.iter().position(same_index)?;
        let last = self.all.iter().rposition(same_index)?;
        (first == last).then_some(first)
    }

    /// How far an item is; `None` if it hasn't begun.
    pub(super) fn state(&self, nth: usize) -> Option<&State> {
        Some(&self.all.get(nth)?.state)
    }

    pub(super) fn set(&mut self, nth: usize, state: State) {
        if let Some(item) = self.all.get_mut(nth) {
            item.state = state;
        }
    }

    /// Holds an item of `size` bytes until the open one has ended.
    pub(super) fn hold(&mut self, nth: usize, item: &Json, size: usize) -> Result<(), Failure> {
        self.held += size;
        if self.held > MAX_HELD {
            let why = "the provider's response calls too many tools at once";
            return Err(Failure::new(why));
        }
        self.set(nth, State::Waiting(Some(item.clone())));
        Ok(())
    }

    /// Items that no longer have to wait. They have ended.
    pub(super) fn release(&mut self) -> Vec<Json> {
        let mut released = Vec::new();
        for item in &mut self.all {
            if let State::Waiting(Some(_)) = item.state
                && let State::Waiting(whole) = std::mem::replace(&mut item.state, State::Ended)
            {
                released.extend(whole);
            }
        }
        self.held = 0;
        released
    }
}
