//! Curves as tables and as one picture of small charts.

use std::fmt::Write as _;

/// One thing that there is more and more of, and what that does.
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    /// What the steps count.
    pub(crate) of: &'static str,
    pub(crate) curves: Vec<Curve>,
}

pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Panel {
    /// Adds a step: a value for each curve.
    pub(crate) fn add(&mut self, at: f64, values: &[f64]) {
        eprintln!("{}: {at} {}: {values:.2?}", self.title, self.of);
        for (curve, value) in self.curves.iter_mut().zip(values) {
            curve.points.push((at, *value));
        }
    }

    /// In Markdown, a row for each step.
    pub(crate) fn table(&self) -> String {
        let mut out = format!("| {}", self.of);
        for curve in &self.curves {
            let _ = write!(out, " | {}", curve.name);
        }
        out.push_str(" |\n");
        out.push_str(&"|---".repeat(self.curves.len() + 1));
        out.push_str("|\n");
        let steps = self.curves.first().map_or(&[][..], |curve| &curve.points);
        for (nth, (at, _)) in steps.iter().enumerate() {
            let _ = write!(out, "| {}", number(*at));
            for curve in &self.curves {
                let _ = write!(out, " | {}", number(curve.points[nth].1));
            }
            out.push_str(" |\n");
        }
        out
    }
}

/// Three digits that count, and thousands apart.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 10.0 && value.fract() != 0.0 {
        return format!("{value:.2}");
    }
    let whole = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (nth, digit) in whole.chars().enumerate() {
        if nth > 0 && (whole.len() - nth).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 190.0;
const ACROSS: usize = 3;
/// Room around the lines of a chart: left, top, right, bottom.
const ROOM: (f64, f64, f64, f64) = (24.0, 52.0, 40.0, 34.0);

/// All curves, each in a chart of its own.
pub(crate) fn draw(panels: &[Panel]) -> String {
    let charts: Vec<_> = panels
        .iter()
        .flat_map(|panel| panel.curves.iter().map(move |curve| (panel, curve)))
        .collect();
    let across = ACROSS as f64 * WIDTH;
    let down = charts.len().div_ceil(ACROSS) as f64 * HEIGHT;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {across} {down}\" width=\"{across}\" \
         height=\"{down}\" font-family=\"system-ui, sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (nth, (panel, curve)) in charts.into_iter().enumerate() {
        let left = (nth % ACROSS) as f64 * WIDTH;
        let top = (nth / ACROSS) as f64 * HEIGHT;
        let _ = writeln!(out, "<g transform=\"translate({left} {top})\">");
        chart(&mut out, panel, curve);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

/// The steps are powers: their logarithms stand evenly. Values stand as they are, from zero,
/// unless they too go through several powers.
fn chart(out: &mut String, panel: &Panel, curve: &Curve) {
    let (left, top, right, bottom) = ROOM;
    let most = curve.points.iter().map(|point| point.1).fold(0.0, f64::max);
    let least = curve
        .points
        .iter()
        .map(|point| point.1)
        .fold(f64::INFINITY, f64::min);
    let is_wide = least > 0.0 && most / least > 50.0;
    let first = curve.points.first().map_or(1.0, |point| point.0).ln();
    let last = curve.points.last().map_or(1.0, |point| point.0).ln();
    let x =
        |at: f64| left + (at.ln() - first) / f64::max(last - first, 1.0) * (WIDTH - left - right);
    let y = |value: f64| {
        let share = if is_wide {
            (value / least).ln() / (most / least).ln()
        } else {
            value / f64::max(most, f64::MIN_POSITIVE)
        };
        HEIGHT - bottom - share * (HEIGHT - top - bottom)
    };
    let scale = if is_wide { ", logarithmic" } else { "" };
    let _ = writeln!(
        out,
        "<text x=\"{left}\" y=\"18\" font-weight=\"600\">{}</text>\
         <text x=\"{left}\" y=\"33\" fill=\"#555\">{}{scale}</text>\
         <path d=\"M{left} {base}H{end}\" stroke=\"#bbb\"/>",
        panel.title,
        curve.name,
        base = HEIGHT - bottom,
        end = WIDTH - right,
    );
    let mut line = String::new();
    for (nth, (at, value)) in curve.points.iter().enumerate() {
        let command = if nth == 0 { 'M' } else { 'L' };
        let _ = write!(line, "{command}{:.1} {:.1}", x(*at), y(*value));
    }
    let _ = writeln!(
        out,
        "<path d=\"{line}\" fill=\"none\" stroke=\"#2f6fde\" stroke-width=\"1.5\"/>"
    );
    for (at, value) in &curve.points {
        let (x, y) = (x(*at), y(*value));
        let _ = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"#2f6fde\"/>\
             <text x=\"{x:.1}\" y=\"{above:.1}\" text-anchor=\"middle\">{}</text>\
             <text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
            number(*value),
            number(*at),
            above = y - 6.0,
            below = HEIGHT - bottom + 14.0,
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#555\">{}</text>",
        WIDTH - right,
        HEIGHT - 6.0,
        panel.of
    );
}
