//! What an exchange comes to: its outcome, what it counts, what it costs, and what is kept of it. One
//! pure function, the same for requests over HTTP, frames of a WebSocket, and refusals.
//!
//! It is charged for what its provider has counted, and where it has not, for what the bytes stand for.
//! The caller has no say in it: a response without a count is an estimate, not free.

use super::attempt::{Attempt, Price};
use super::blobs;
use super::ending::{Ended, Ending, Metered};
use super::facts::{Facts, Kept};
use crate::base::money::{Mode, Money};
use crate::base::reasons::Reason;
use crate::base::text::Text;
use crate::formats::tokens::PICTURE;
use crate::formats::{Density, Reading, Tokens, ToolCall};
use crate::policy::budget::Amounts;
use crate::policy::pricing::{Quote, Terms};
use crate::records::{Capture, Entry, Outcome};

/// What an exchange comes to.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) outcome: Outcome,
    pub(super) error: Option<String>,
    pub(super) tokens: Tokens,
    /// Nanodollars; `None` where no price is known.
    pub(super) cost: Option<i64>,
    /// Whose price it is.
    pub(super) cost_basis: Option<Text>,
    /// The caller's own account pays.
    pub(super) own_credential: bool,
    /// Why it is another price than that of the model that was asked for, if it is.
    pub(super) dearer: Option<Reason>,
    pub(super) finish_reason: Option<String>,
    pub(super) tools: Vec<ToolCall>,
}

/// Decides what an exchange comes to.
pub(super) fn settle(facts: &Facts, ended: &mut Ended) -> Settled {
    let (entry, attempt) = (&facts.entry, facts.attempts.last());
    let reading = &mut ended.metered.reading;
    if let Some(in_head) = attempt.map(|attempt| attempt.in_head) {
        reading.tokens.input = reading.tokens.input.or(in_head.input);
        reading.tokens.output = reading.tokens.output.or(in_head.output);
    }
    // Nobody has worked where no provider was reached.
    let is_asked = attempt.is_some_and(Attempt::is_asked);
    let price = attempt
        .filter(|_| is_asked)
        .and_then(|attempt| attempt.price.as_ref());
    let charge = match price {
        Some(price) => charged(entry, price, ended),
        None if is_asked && attempt.is_some_and(|attempt| attempt.is_unpriced) => Charge {
            cost: None,
            ..Charge::none()
        },
        None => Charge::none(),
    };
    let reading = &mut ended.metered.reading;
    Settled {
        outcome: ended.ending.outcome(),
        error: ended.ending.error().map(str::to_owned),
        // A response that was kept tells what another request has used.
        tokens: if is_asked {
            reading.tokens
        } else {
            Tokens::default()
        },
        cost: charge.cost,
        cost_basis: charge.basis,
        own_credential: attempt.is_some_and(|one| one.own_credential && one.is_asked()),
        dearer: charge.dearer,
        finish_reason: reading.finish_reason.take(),
        tools: std::mem::take(&mut reading.tool_calls),
    }
}

/// Decides what a response comes to that was made in the background.
pub(super) fn settle_followed(entry: &Entry, price: &Price, ended: &mut Ended) -> Settled {
    let charge = charged(entry, price, ended);
    let reading = &mut ended.metered.reading;
    let ending = ended.ending.clone();
    let ending = ending.unless_reported(reading.failure.clone());
    Settled {
        outcome: ending.outcome(),
        error: ending.error().map(str::to_owned),
        tokens: reading.tokens,
        cost: charge.cost,
        cost_basis: charge.basis,
        own_credential: false,
        dearer: charge.dearer,
        finish_reason: reading.finish_reason.take(),
        tools: std::mem::take(&mut reading.tool_calls),
    }
}

impl Settled {
    /// What it takes of budgets.
    pub(super) fn spent(&self) -> Amounts {
        let counted = [self.tokens.input, self.tokens.output];
        let tokens = counted
            .into_iter()
            .flatten()
            .fold(0_u64, u64::saturating_add);
        Amounts {
            tokens: i64::try_from(tokens).unwrap_or(i64::MAX),
            cost: self.cost.map(Money::from_nanodollars),
        }
    }

    /// Completes the entry. What is left are the calls of tools in the response.
    pub(super) fn complete(self, entry: &mut Entry) -> Vec<ToolCall> {
        entry.outcome = self.outcome;
        entry.error = self.error;
        entry.tokens = self.tokens;
        entry.cost = self.cost;
        entry.cost_basis = self.cost_basis;
        entry.own_credential = self.own_credential;
        entry.reasons.extend(self.dearer);
        entry.finish_reason = self.finish_reason;
        entry.tool_calls = u32::try_from(self.tools.len()).unwrap_or(u32::MAX);
        self.tools
    }
}

/// What is kept of both bodies; `None` where captures are not kept.
pub(super) fn captured(kept: &mut Kept, metered: Metered) -> Option<Capture> {
    let mut capture = kept.capture.take()?;
    // Hooks may be told more than is kept.
    let over = metered.body.len() > kept.room;
    let mut body = metered.body;
    body.truncate(kept.room);
    capture.request_body = blobs::without(&capture.request_body, kept.opaque);
    capture.response_body = blobs::without(&body, kept.opaque);
    capture.raw = metered.raw.map(|mut raw| {
        raw.truncate(kept.room);
        raw
    });
    capture.truncated |= metered.truncated || over;
    Some(capture)
}

/// What is paid for an exchange.
struct Charge {
    cost: Option<i64>,
    basis: Option<Text>,
    dearer: Option<Reason>,
}

impl Charge {
    /// What no provider was asked for costs nothing.
    fn none() -> Self {
        Self {
            cost: Some(0),
            basis: None,
            dearer: None,
        }
    }
}

/// The charge for a request that a provider was asked for, by counts that are completed here.
/// An error without usage costs nothing; what has no known price stays unknown.
fn charged(entry: &Entry, price: &Price, ended: &mut Ended) -> Charge {
    let sizes = Sizes {
        density: price.density,
        request: price.asked_bytes,
        response: ended.metered.length,
    };
    complete(
        &mut ended.metered.reading,
        &ended.ending,
        entry.status,
        sizes,
    );
    let reading = &ended.metered.reading;
    let used = of_used(entry, price, reading);
    let dearer = used.as_ref().map(|(_, why)| why.clone());
    let quote = used.as_ref().map_or(&*price.quote, |(quote, _)| quote);
    let is_uncounted = reading.tokens.input.is_none() && reading.tokens.output.is_none();
    let is_error = !(200..300).contains(&entry.status)
        || matches!(
            ended.ending,
            Ending::ProviderFailed(_) | Ending::ProviderCut(_)
        );
    let is_empty = is_uncounted && entry.response_bytes == 0;
    if is_uncounted && (is_error || is_empty) {
        return Charge {
            dearer,
            ..Charge::none()
        };
    }
    let cost = cost(quote, reading, price);
    let basis = cost.as_ref().and(quote.resolved_model.clone());
    Charge {
        cost: cost.map(Money::nanodollars),
        basis,
        dearer,
    }
}

/// The sizes of an exchange.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// What its bytes stand for.
    density: Density,
    /// Bytes of the request's body.
    request: u64,
    /// Bytes of the response's body, decompressed.
    response: u64,
}

/// Completes the counts of a request that a provider was asked for and charges for, by estimates
/// that are marked as such.
///
/// A provider's error is charged only if it counts something. A response without a byte says that
/// there was nothing to charge for.
fn complete(reading: &mut Reading, ending: &Ending, status: u16, sizes: Sizes) {
    estimate(reading, ending, status, sizes);
    if let Some(total) = reading.total.filter(|_| reading.tokens.estimated) {
        let density = reading.density.unwrap_or(sizes.density);
        if density.answered.is_some() {
            divide(&mut reading.tokens, total);
        } else {
            reading.tokens.input = Some(total);
        }
    }
}

/// Divides the sum of all tokens between estimates of the prompt and of the output. What the
/// estimates leave is output, because models reason unseen.
fn divide(tokens: &mut Tokens, total: u64) {
    let (Some(input), output) = (tokens.input, tokens.output.unwrap_or(0)) else {
        return;
    };
    let both = u128::from(input) + u128::from(output);
    let input = if both > u128::from(total) {
        let share = u128::from(input) * u128::from(total) / both;
        u64::try_from(share).unwrap_or(total)
    } else {
        input
    };
    tokens.input = Some(input);
    tokens.output = Some(total - input);
}

fn estimate(reading: &mut Reading, ending: &Ending, status: u16, sizes: Sizes) {
    let density = reading.density.unwrap_or(sizes.density);
    let is_generated = reading.finish_reason.is_some() || !reading.tool_calls.is_empty();
    let tokens = &mut reading.tokens;
    let is_uncounted = tokens.input.is_none() && tokens.output.is_none();
    let is_success = (200..300).contains(&status);
    let (input, output) = match ending {
        Ending::Complete if is_success && sizes.response > 0 => {
            (true, is_uncounted || is_generated)
        }
        // The provider has read the request, and written at least what arrived.
        // An error is not charged, however much of it was waited for.
        _ if ending.leaves_work() && is_uncounted && (is_success || !has_answered(status)) => {
            (true, is_success && sizes.response > 0)
        }
        _ => return,
    };
    if input && tokens.input.is_none() {
        tokens.input = Some(density.input(sizes.request));
        tokens.estimated = true;
    }
    if output && tokens.output.is_none() {
        let linked = reading.linked.saturating_mul(PICTURE);
        tokens.output = density
            .output(sizes.response)
            .map(|bytes| bytes.max(linked));
        tokens.estimated |= tokens.output.is_some();
    }
}

/// Whether a status is a provider's: 0 stands for none, and 504 for what the gateway gives up.
fn has_answered(status: u16) -> bool {
    !matches!(status, 0 | 504)
}

fn cost(quote: &Quote, reading: &Reading, price: &Price) -> Option<Money> {
    let terms = Terms {
        mode: match price.mode {
            Mode::Standard => Mode::of(reading.tier.as_deref().unwrap_or_default()),
            asked => asked,
        },
        geography: reading.geography.as_deref(),
        api: price.format,
    };
    quote.total(&reading.tokens, terms)
}

/// The price of the model that the provider says it has used, if it is another than the one that was
/// asked for and costs more; and why it is charged.
fn of_used(entry: &Entry, price: &Price, reading: &Reading) -> Option<(Quote, Reason)> {
    let used = reading.model.as_deref()?;
    if used == entry.model || used.is_empty() || used.len() > MAX_MODEL {
        return None;
    }
    let other = price.prices.quote(&entry.provider, used);
    let cost = |quote: &Quote| cost(quote, reading, price);
    let dearer = price.quote.dearer(&entry.model, used, other, cost)?;
    let why = Reason::DearerModel {
        provider: entry.provider.clone(),
        model: used.into(),
    };
    Some((dearer, why))
}

/// A longer name isn't that of a model.
const MAX_MODEL: usize = 512;

#[cfg(test)]
mod tests;
