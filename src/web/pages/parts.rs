//! What pages are made of: cards, badges, tables, tabs, empty states. Everything that comes from
//! outside goes through here or through a template, and both write text as text.

use maud::{Markup, Render, html};

use super::format;
use super::query::Query;
use crate::records::{Counts, Entry, EntryId, Outcome};

/// How a badge looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
    Accent,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Plain => "badge",
            Self::Good => "badge good",
            Self::Warn => "badge warn",
            Self::Bad => "badge bad",
            Self::Accent => "badge accent",
        }
    }
}

/// A word in a box.
pub(super) fn badge(tone: Tone, text: &str) -> Markup {
    html! { span class=(tone.class()) { (text) } }
}

/// A figure with its name, and what else is to be said of it.
pub(super) fn card(label: &str, value: impl Render, note: impl Render) -> Markup {
    html! {
        div.card {
            dt { (label) }
            dd { span.figure { (value) } span.note { (note) } }
        }
    }
}

/// Says that there is nothing, why, and what to do.
pub(super) fn empty(title: &str, advice: &Markup) -> Markup {
    html! {
        div.empty {
            p.lead { (title) }
            p { (advice) }
        }
    }
}

/// A note that is to be seen.
pub(super) fn notice(tone: Tone, text: &Markup) -> Markup {
    let class = match tone {
        Tone::Bad => "notice bad",
        Tone::Warn => "notice warn",
        Tone::Good => "notice good",
        Tone::Plain | Tone::Accent => "notice",
    };
    html! { div class=(class) role="note" { (text) } }
}

/// Links to the views that a parameter of an address chooses from: its values, and their names.
pub(super) fn views<'v>(
    query: &Query,
    path: &str,
    parameter: &str,
    all: impl IntoIterator<Item = (&'v str, &'v str)>,
    shown: &str,
) -> Markup {
    html! {
        @for (value, name) in all {
            a href=(query.with(parameter, value).at(path))
                aria-current=[(value == shown).then_some("true")] { (name) }
        }
    }
}

/// Views of one thing.
pub(super) fn tabs(label: &str, views: &Markup) -> Markup {
    html! { nav.tabs aria-label=(label) { (views) } }
}

/// A choice among few.
pub(super) fn choice(label: &str, views: &Markup) -> Markup {
    html! { div.choice role="group" aria-label=(label) { (views) } }
}

/// The columns of a table.
#[derive(Default)]
pub(super) struct Columns<'c>(Vec<Column<'c>>);

struct Column<'c> {
    name: &'c str,
    is_number: bool,
    /// Where it is sorted by this column, and whether it is.
    sort: Option<(String, bool)>,
}

/// Columns, of which the first are of words.
pub(super) fn words<'c>(names: &[&'c str]) -> Columns<'c> {
    Columns::default().words(names)
}

impl<'c> Columns<'c> {
    /// More of words.
    pub(super) fn words(self, names: &[&'c str]) -> Self {
        self.and(names, false)
    }

    /// More of numbers.
    pub(super) fn numbers(self, names: &[&'c str]) -> Self {
        self.and(names, true)
    }

    fn and(mut self, names: &[&'c str], is_number: bool) -> Self {
        self.0.extend(names.iter().map(|name| Column {
            name,
            is_number,
            sort: None,
        }));
        self
    }

    /// Makes the head of the last one a link that sorts by it, the greatest first.
    pub(super) fn sorted(mut self, address: String, is_sorted: bool) -> Self {
        if let Some(last) = self.0.last_mut() {
            last.sort = Some((address, is_sorted));
        }
        self
    }
}

/// A table; `rows` are its `tr`.
pub(super) fn table(caption: &str, columns: &Columns<'_>, rows: &Markup) -> Markup {
    html! {
        div.table role="region" aria-label=(caption) tabindex="0" {
            table {
                caption { (caption) }
                thead {
                    tr {
                        @for column in &columns.0 {
                            @let sorted = column.sort.as_ref().filter(|sort| sort.1);
                            th scope="col" class=[column.is_number.then_some("n")]
                                aria-sort=[sorted.map(|_| "descending")] {
                                @if let Some((address, _)) = &column.sort {
                                    a href=(address) { (column.name) }
                                } @else { (column.name) }
                            }
                        }
                    }
                }
                tbody { (rows) }
            }
        }
    }
}

/// Links to the first page of a list and to the one after, by its cursor.
pub(super) fn pager(path: &str, query: &Query, next: Option<&EntryId>) -> Markup {
    let first = query.get("before");
    let first = first.map(|_| query.without(&["before"]).at(path));
    let next = next.map(|next| query.with("before", next.as_str()).at(path));
    html! {
        @if first.is_some() || next.is_some() {
            nav.pager aria-label="Older and newer" {
                @if let Some(first) = first { a.button href=(first) { "Newest" } }
                @if let Some(next) = next { a.button rel="next" href=(next) { "Older" } }
            }
        }
    }
}

/// A time, as how long ago it was.
pub(super) fn ago(now_ms: i64, then_ms: i64) -> Markup {
    html! {
        time datetime=(format::rfc3339(then_ms)) title=(format!("{} UTC", format::time(then_ms))) {
            (format::ago(now_ms, then_ms))
        }
    }
}

/// A time to the second.
pub(super) fn time(unix_ms: i64) -> Markup {
    html! {
        time datetime=(format::rfc3339(unix_ms)) { (format::time(unix_ms)) " UTC" }
    }
}

/// What requests have cost, as far as it is known.
pub(super) fn cost(counts: &Counts) -> Markup {
    as_far_as_known(counts, &html! { (format::dollars(counts.cost)) })
}

/// The same in a column of a table.
pub(super) fn cost_in_column(counts: &Counts) -> Markup {
    let cost = counts.cost;
    let amount = html! { span title=(format::dollars(cost)) { (format::dollars_in_column(cost)) } };
    as_far_as_known(counts, &amount)
}

/// The sum of known prices, marked if some requests have none.
fn as_far_as_known(counts: &Counts, amount: &Markup) -> Markup {
    if counts.priced == 0 && counts.unpriced > 0 {
        return unknown("no price is known for these requests");
    }
    let without = format!(
        "{} of {} have no known price",
        counts.unpriced, counts.requests
    );
    let own = format!(
        "{} of it at list price: callers' own accounts pay",
        format::dollars(counts.own_credential_cost)
    );
    html! {
        (amount)
        @if counts.unpriced > 0 { span.more title=(without) aria-label=(without) { "+" } }
        @if counts.own_credential_cost > 0 { span.more title=(own) aria-label=(own) { "*" } }
    }
}

/// What one request has cost, in a column of a table.
pub(super) fn entry_cost_in_column(entry: &Entry) -> Markup {
    let Some(cost) = entry.cost else {
        return unknown("no price is known for this model at this provider");
    };
    let (sign, why) = if entry.cost_estimated() {
        ("≈", ", estimated: the provider reported no usage")
    } else {
        ("", "")
    };
    html! {
        span title={ (format::dollars(cost)) (why) } { (sign) (format::dollars_in_column(cost)) }
        (own_credential(entry))
    }
}

/// What one request has cost.
pub(super) fn entry_cost(entry: &Entry) -> Markup {
    match entry.cost {
        None => unknown("no price is known for this model at this provider"),
        Some(cost) if entry.cost_estimated() => html! {
            span title="estimated: the provider reported no usage" { "≈" (format::dollars(cost)) }
            (own_credential(entry))
        },
        Some(cost) => html! { (format::dollars(cost)) (own_credential(entry)) },
    }
}

/// Marks a cost that the caller's own account pays.
fn own_credential(entry: &Entry) -> Markup {
    const WHY: &str = "at list price: the caller's own account pays";
    html! {
        @if entry.own_credential { span.more title=(WHY) aria-label=(WHY) { "*" } }
    }
}

/// In place of an unknown figure.
pub(super) fn unknown(why: &str) -> Markup {
    html! { span.unknown title=(why) { "–" } }
}

/// A figure that may not be known.
pub(super) fn maybe(value: Option<String>) -> Markup {
    match value {
        Some(text) => html! { (text) },
        None => unknown("not known"),
    }
}

/// A number of tokens that may not be known.
pub(super) fn tokens(count: Option<u64>) -> Markup {
    maybe(count.map(format::grouped))
}

/// How a request ended.
pub(super) fn outcome(entry: &Entry) -> Markup {
    let (tone, text) = match entry.outcome {
        Outcome::Complete => (Tone::Good, "complete"),
        Outcome::ClientClosed => (Tone::Plain, "caller left"),
        Outcome::Refused => (Tone::Warn, "refused"),
        Outcome::UpstreamError => (Tone::Bad, "provider error"),
        Outcome::TimedOut => (Tone::Bad, "timed out"),
        Outcome::Failed => (Tone::Bad, "failed"),
    };
    html! { (badge(tone, text)) " " span.status { (entry.status) } }
}

/// A part of a whole as a bar.
pub(super) fn bar(part: u64, whole: u64, class: &str) -> Markup {
    html! {
        svg class={ "bar " (class) } viewBox="0 0 1000 10" preserveAspectRatio="none"
            aria-hidden="true" focusable="false" {
            rect.track width="1000" height="10" {}
            rect.fill width=(thousandths(part, whole)) height="10" {}
        }
    }
}

/// A part of a whole in thousandths.
pub(super) fn thousandths(part: u64, whole: u64) -> u64 {
    let share = u128::from(part) * 1_000 / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(1_000).min(1_000)
}

/// Names and values of one thing.
pub(super) fn facts(all: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in all { (fact(name, value)) }
        }
    }
}

/// One of them.
pub(super) fn fact(name: &str, value: &impl Render) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// Text to be copied, with a button that does it.
pub(super) fn code(label: &str, text: &str) -> Markup {
    html! {
        div.code {
            div.code-head {
                span { (label) }
                button.copy type="button" data-copy { "Copy" span.hidden { " " (label) } }
            }
            pre tabindex="0" role="region" aria-label=(label) { code { (text) } }
        }
    }
}

/// A section with a heading.
pub(super) fn section(title: &str, body: &Markup) -> Markup {
    html! { section { h2 { (title) } (body) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>";

    #[test]
    fn what_others_wrote_stays_text() {
        let evil = Query::default().with("before", EVIL).with(EVIL, EVIL);
        let all = html! {
            (badge(Tone::Bad, EVIL))
            (card(EVIL, EVIL, EVIL))
            (empty(EVIL, &html! { (EVIL) }))
            (tabs(EVIL, &views(&evil, EVIL, EVIL, [(EVIL, EVIL)], EVIL)))
            (facts(&[(EVIL, html! { (EVIL) })]))
            (code(EVIL, EVIL))
            (table(EVIL, &words(&[EVIL]).sorted(EVIL.to_owned(), true), &html! {}))
            (pager(EVIL, &evil, None))
            (unknown(EVIL))
        };
        let text = all.into_string();
        assert!(
            !text.contains("<script") && !text.contains("<img"),
            "{text}"
        );
        assert!(!text.contains("\"'>"), "{text}");
    }
}
