//! The health of a provider or of one of its models: failures in a row, and until when it is left out.

use std::time::{Duration, Instant};

use crate::base::clock::{self, backoff};
use crate::config::Routing;

/// A provider is left out for at most this long for a limit of its own, however long it asks for:
/// a mistake in a header must not take it away for a day.
pub(super) const LONGEST_LIMIT: Duration = Duration::from_hours(1);
/// The same if it doesn't say for how long: the first time, doubled each time.
const FIRST_LIMIT: Duration = Duration::from_secs(1);
/// The longest of those.
const LAST_LIMIT: Duration = Duration::from_secs(30);
/// Letters of an error that are kept.
const LONGEST_ERROR: usize = 300;

/// Whether a provider takes requests for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It responds, as far as is known.
    Well,
    /// It failed, and one request may now try it.
    OnTrial,
    /// It failed and is paused.
    Paused,
    /// It refuses requests for a while, because there are too many.
    Limited(Duration),
}

impl Standing {
    /// Whether requests go there while others could take them.
    pub fn is_available(self) -> bool {
        matches!(self, Self::Well | Self::OnTrial)
    }

    /// The order in which providers are asked that are all left out: one that is paused may have
    /// recovered, one that is limited has said that it hasn't.
    pub(super) fn rank(self) -> (u8, Duration) {
        match self {
            Self::Well | Self::OnTrial => (0, Duration::ZERO),
            Self::Paused => (1, Duration::ZERO),
            Self::Limited(left) => (2, left),
        }
    }
}

/// What is known of a provider or of one of its models.
#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) requests: u64,
    pub(super) failed: u64,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Pauses in a row.
    pauses: u32,
    paused: Option<Pause>,
    limited: Option<Instant>,
    /// Limits in a row.
    limits: u32,
    /// Unix milliseconds.
    pub(super) last_success: Option<i64>,
    /// Unix milliseconds, and what happened.
    pub(super) last_error: Option<(i64, String)>,
}

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    /// A request is trying whether it has recovered.
    is_tried: bool,
}

impl Track {
    pub(super) fn standing(&self) -> Standing {
        let now = Instant::now();
        if let Some(until) = self.limited.filter(|until| *until > now) {
            return Standing::Limited(until - now);
        }
        match self.paused {
            None => Standing::Well,
            Some(pause) if pause.until <= now && !pause.is_tried => Standing::OnTrial,
            Some(_) => Standing::Paused,
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Until the next try, if it is paused.
    pub(super) fn retry_in(&self) -> Option<Duration> {
        let until = self.paused?.until;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// Notes a request. Returns whether it is the one that tries a paused provider.
    pub(super) fn begin(&mut self) -> bool {
        self.requests += 1;
        let now = Instant::now();
        match &mut self.paused {
            Some(pause) if pause.until <= now && !pause.is_tried => {
                pause.is_tried = true;
                true
            }
            _ => false,
        }
    }

    /// It was reached: that is all that the track of a whole provider is about. Returns whether
    /// that ended a pause.
    pub(super) fn reached(&mut self, tries: bool) -> bool {
        self.failures = 0;
        if !tries {
            return false;
        }
        self.pauses = 0;
        self.paused.take().is_some()
    }

    /// A request that tried it has begun to be answered. The outcome is known at the end of the
    /// response, which may be an hour away: until then another request may try, now and then.
    pub(super) fn answering(&mut self, rules: &Routing) {
        if let Some(pause) = &mut self.paused {
            pause.is_tried = false;
            pause.until = Instant::now() + rules.eject_for;
        }
    }

    /// The request that tried it has ended without an outcome.
    pub(super) fn untried(&mut self) {
        if let Some(pause) = &mut self.paused {
            pause.is_tried = false;
        }
    }

    /// A response has come to its end. Returns whether that ended a pause: responses to requests
    /// from before the pause don't.
    pub(super) fn succeeded(&mut self, tries: bool) -> bool {
        self.limits = 0;
        self.last_success = Some(clock::unix_ms());
        self.reached(tries)
    }

    /// A request has failed. Returns for how long requests now pause, if a pause begins.
    pub(super) fn failed(&mut self, why: &str, tries: bool, rules: &Routing) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        self.note(why);
        let begins = tries || self.paused.is_none();
        let is_over = rules.eject_after > 0 && (tries || self.failures >= rules.eject_after);
        if !(is_over && begins) {
            return None;
        }
        let wait = backoff(rules.eject_for, self.pauses, rules.eject_at_most);
        self.pauses = self.pauses.saturating_add(1);
        self.paused = Some(Pause {
            until: Instant::now() + wait,
            is_tried: false,
        });
        Some(wait)
    }

    /// It takes no requests for a while; `wait` is for how long, if it says so.
    pub(super) fn limited(&mut self, why: &str, wait: Option<Duration>, tries: bool) -> Duration {
        self.note(why);
        // It answers, which is what was tried.
        if tries {
            self.paused = None;
            self.failures = 0;
        }
        let wait = wait.map_or_else(
            || backoff(FIRST_LIMIT, self.limits, LAST_LIMIT),
            |wait| wait.min(LONGEST_LIMIT),
        );
        self.limits = self.limits.saturating_add(1);
        let until = Instant::now() + wait;
        // Of two limits, such as those for tokens and for requests, the longer one holds.
        self.limited = Some(self.limited.map_or(until, |before| before.max(until)));
        wait
    }

    fn note(&mut self, why: &str) {
        self.failed += 1;
        let why = why.chars().take(LONGEST_ERROR).collect();
        self.last_error = Some((clock::unix_ms(), why));
    }
}

/// A provider as people see it.
#[derive(Clone, Debug, serde::Serialize, schemars::JsonSchema)]
#[schemars(inline)]
pub struct Health {
    /// Whether no request goes to it while others could take it, because it fails.
    pub ejected: bool,
    /// Seconds until it is tried again.
    pub retry_in: Option<u64>,
    /// Requests that are open.
    pub open: usize,
    /// Requests since the start of the process.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Failures in a row.
    pub failures: u32,
    /// Unix milliseconds of the last complete response.
    pub last_success: Option<i64>,
    /// What the last failure was.
    pub last_error: Option<String>,
    /// The models that were asked for.
    pub models: Vec<ModelHealth>,
    /// Of several keys, those that are left out because the provider refused or limited them.
    pub keys: Vec<KeyHealth>,
}

impl Health {
    /// Models that are paused though their provider isn't.
    pub fn paused_models(&self) -> impl Iterator<Item = &ModelHealth> {
        self.models
            .iter()
            .filter(|model| model.ejected && !self.ejected)
    }

    /// Models that the provider refuses for being asked too often.
    pub fn limited_models(&self) -> impl Iterator<Item = &ModelHealth> {
        let models = self.models.iter();
        models.filter(|model| model.limited_for.is_some())
    }
}

/// A key of a provider as people see it.
#[derive(Clone, Debug, serde::Serialize, schemars::JsonSchema)]
#[schemars(inline)]
pub struct KeyHealth {
    /// Its number, from 1, in the order of the configuration.
    pub key: usize,
    /// Seconds for which it is left out.
    pub left_out_for: u64,
    /// Whether the provider refuses it; else too much was asked with it.
    pub is_refused: bool,
    /// What the provider answered.
    pub why: String,
}

/// One model of a provider as people see it.
#[derive(Clone, Debug, serde::Serialize, schemars::JsonSchema)]
#[schemars(inline)]
pub struct ModelHealth {
    /// Its name at the provider.
    pub model: String,
    /// Whether it is paused for its failures.
    pub ejected: bool,
    /// Seconds until it is tried again.
    pub retry_in: Option<u64>,
    /// Seconds for which the provider refuses it, for being asked too often.
    pub limited_for: Option<u64>,
    /// Requests since the start of the process.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Failures in a row.
    pub failures: u32,
    /// Unix milliseconds of the last complete response.
    pub last_success: Option<i64>,
    /// What the last failure was.
    pub last_error: Option<String>,
}

impl ModelHealth {
    pub(super) fn of(model: &str, track: &Track) -> Self {
        Self {
            model: model.to_owned(),
            ejected: track.is_paused(),
            retry_in: track.retry_in().map(|left| left.as_secs()),
            limited_for: match track.standing() {
                Standing::Limited(left) => Some(seconds(left)),
                _ => None,
            },
            requests: track.requests,
            failed: track.failed,
            failures: track.failures,
            last_success: track.last_success,
            last_error: track.last_error.as_ref().map(|(_, why)| why.clone()),
        }
    }
}

/// Whole seconds, rounded up.
pub(super) fn seconds(left: Duration) -> u64 {
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}
