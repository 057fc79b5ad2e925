//! Medians over rounds, and their ratios to Iris.

use std::fmt::Write as _;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    Small,
    SmallP99,
    SmallCpu,
    Large,
    LargeP99,
    LargeCpu,
    AloneP50,
    AloneP99,
    Events,
    EventCpu,
    StreamMemory,
    SlowCpu,
    SlowP99,
    Fresh,
    After,
    Start,
    Size,
}

const ALL: [(Figure, &str, usize); 17] = [
    (
        Figure::Small,
        "small answers, 32 connections: requests/s",
        0,
    ),
    (Figure::SmallP99, "… p99 ms", 2),
    (Figure::SmallCpu, "… CPU µs a request", 1),
    (
        Figure::Large,
        "64 KiB answers, 32 connections: requests/s",
        0,
    ),
    (Figure::LargeP99, "… p99 ms", 2),
    (Figure::LargeCpu, "… CPU µs a request", 1),
    (Figure::AloneP50, "one connection: p50 ms", 3),
    (Figure::AloneP99, "… p99 ms", 3),
    (Figure::Events, "streams, 8 connections: events/s", 0),
    (Figure::EventCpu, "… CPU µs an event", 2),
    (Figure::StreamMemory, "KiB an open stream", 1),
    (Figure::SlowCpu, "… CPU µs an event, at one a second", 1),
    (
        Figure::SlowP99,
        "… p99 ms from provider to caller, at one a second",
        2,
    ),
    (Figure::Fresh, "MiB after the first requests", 1),
    (Figure::After, "MiB after the load", 1),
    (Figure::Start, "ms to the first response", 0),
    (Figure::Size, "MiB of its own files", 1),
];

/// All that was measured, by peer.
pub(crate) struct Figures {
    peers: Vec<(&'static str, Vec<(Figure, f64)>)>,
}

impl Figures {
    pub(crate) fn new(peers: impl Iterator<Item = &'static str>) -> Self {
        Self {
            peers: peers.map(|peer| (peer, Vec::new())).collect(),
        }
    }

    pub(crate) fn add(&mut self, peer: &str, figures: Vec<(Figure, f64)>) {
        if let Some((_, all)) = self.peers.iter_mut().find(|(name, _)| *name == peer) {
            all.extend(figures);
        }
    }

    /// Median, least and most of a figure.
    fn of(&self, peer: &str, figure: Figure) -> Option<(f64, f64, f64)> {
        let (_, all) = self.peers.iter().find(|(name, _)| *name == peer)?;
        let mut values: Vec<f64> = all
            .iter()
            .filter(|(one, _)| *one == figure)
            .map(|(_, value)| *value)
            .collect();
        values.sort_by(f64::total_cmp);
        let median = *values.get(values.len() / 2)?;
        Some((median, *values.first()?, *values.last()?))
    }

    /// In Markdown: each figure with its spread, and its ratio to that of Iris.
    pub(crate) fn table(&self) -> String {
        let mut out = String::from("|");
        for (peer, _) in &self.peers {
            let _ = write!(out, " | {peer}");
        }
        out.push_str(" |\n|---");
        out.push_str(&"|---".repeat(self.peers.len()));
        out.push_str("|\n");
        for (figure, name, digits) in ALL {
            let ours = self.of("iris", figure);
            let _ = write!(out, "| {name}");
            for (peer, _) in &self.peers {
                let Some((median, least, most)) = self.of(peer, figure) else {
                    out.push_str(" | –");
                    continue;
                };
                let _ = write!(
                    out,
                    " | {median:.digits$} ({least:.digits$}–{most:.digits$})"
                );
                if let Some((ours, _, _)) = ours.filter(|_| *peer != "iris") {
                    let _ = write!(out, " ×{:.2}", median / ours);
                }
            }
            out.push_str(" |\n");
            if let Some(name) = match figure {
                Figure::AloneP50 => Some("… added at p50 ms"),
                Figure::AloneP99 => Some("… added at p99 ms"),
                _ => None,
            } {
                self.added(&mut out, figure, name);
            }
        }
        out
    }

    /// What is beyond the time of the provider alone.
    fn added(&self, out: &mut String, figure: Figure, name: &str) {
        let Some((alone, _, _)) = self.of("direct", figure) else {
            return;
        };
        let over = |peer| self.of(peer, figure).map(|(median, _, _)| median - alone);
        let ours = over("iris");
        let _ = write!(out, "| {name}");
        for (peer, _) in &self.peers {
            match over(peer).filter(|_| *peer != "direct") {
                Some(more) if *peer == "iris" => {
                    let _ = write!(out, " | {more:.3}");
                }
                Some(more) => {
                    let ratio = ours.map_or(0.0, |ours| more / ours);
                    let _ = write!(out, " | {more:.3} ×{ratio:.2}");
                }
                None => out.push_str(" | –"),
            }
        }
        out.push_str(" |\n");
    }
}
