//! A bar chart as SVG, the same bytes for the same figures.

use std::fmt::Write;

use crate::contest::Standings;
use crate::subject::{Role, State};
use crate::table::with_limit;

const WIDTH: usize = 860;
const LEFT: usize = 190;
const RIGHT: usize = 70;
const TOP: usize = 64;
const BAR: usize = 14;
const GAP: usize = 18;

/// Colours that are told apart by most eyes and in grey (after Okabe and Ito); the
/// project's own is the first.
const COLOURS: [&str; 8] = [
    "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#f0e442", "#999999",
];

/// Groups of bars, from left to right, on one scale.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// Who has bars, in the order of their colours.
    pub series: Vec<String>,
    /// The groups, from top to bottom.
    pub groups: Vec<Group>,
}

/// Bars side by side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// What is compared.
    pub label: String,
    /// A value for each series, where there is one; 1 is the limit.
    pub values: Vec<Option<f64>>,
}

impl Chart {
    /// Every subject's share of the limit that was measured in the same rounds.
    pub fn of(standings: &Standings) -> Self {
        let shown: Vec<_> = standings
            .entries
            .iter()
            .filter(|entry| entry.role != Role::Limit)
            .collect();
        let states = [State::Cold, State::Warm, State::Hot];
        let settings = states
            .iter()
            .flat_map(|state| with_limit(standings, *state));
        let groups = settings.filter_map(|setting| {
            let limit = standings.limit(setting)?;
            let share = |name| {
                let ratio = standings.ratio(setting, name, limit.name, |round| round.rate);
                (!ratio.is_empty()).then(|| ratio.median())
            };
            Some(Group {
                label: setting.to_string(),
                values: shown.iter().map(|entry| share(entry.name)).collect(),
            })
        });
        Self {
            title: "share of the limit: raw GET to a file (cold), local file (warm disk, hot)"
                .to_owned(),
            groups: groups.collect(),
            series: shown.iter().map(|entry| entry.name.to_owned()).collect(),
        }
    }

    /// The picture.
    pub fn svg(&self) -> String {
        let bars = |group: &Group| group.values.iter().flatten().count().max(1);
        let heights = self.groups.iter().map(|group| bars(group) * BAR + GAP);
        let height = TOP + heights.sum::<usize>() + GAP;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"10\" y=\"20\" font-size=\"14\">{}</text>\n",
            escaped(&self.title)
        );
        self.legend(&mut svg);
        let mut y = TOP;
        for group in &self.groups {
            y = self.group(&mut svg, group, y);
        }
        let at = LEFT + self.length(1.0);
        line(&mut svg, at, TOP - 6, y);
        svg.push_str("</svg>\n");
        svg
    }

    fn legend(&self, svg: &mut String) {
        let mut x = 10;
        for (name, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            // Writing to a String cannot fail.
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"32\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"41\">{}</text>",
                x + 14,
                escaped(name)
            );
            x += 30 + name.chars().count() * 7;
        }
    }

    /// Draws a group from `y` on; where the next one begins.
    fn group(&self, svg: &mut String, group: &Group, mut y: usize) -> usize {
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 8,
            y + 11,
            escaped(&group.label)
        );
        for (value, colour) in group.values.iter().zip(COLOURS.iter().cycle()) {
            let Some(value) = value else { continue };
            let length = self.length(*value);
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length}\" height=\"{}\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"{}\" font-size=\"10\">{value:.2}</text>",
                BAR - 2,
                LEFT + length + 4,
                y + 10
            );
            y += BAR;
        }
        y + GAP
    }

    /// A value's length in pixels. The scale reaches to the largest value, and to a
    /// little more than the limit at least.
    fn length(&self, value: f64) -> usize {
        let values = self
            .groups
            .iter()
            .flat_map(|group| group.values.iter().flatten());
        let most = values.copied().fold(1.1, f64::max);
        (value / most * (WIDTH - LEFT - RIGHT) as f64).round() as usize
    }
}

/// The limit.
fn line(svg: &mut String, x: usize, from: usize, to: usize) {
    // Writing to a String cannot fail.
    let _ = writeln!(
        svg,
        "<line x1=\"{x}\" y1=\"{from}\" x2=\"{x}\" y2=\"{to}\" stroke=\"#000000\" stroke-dasharray=\"4 3\"/>"
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contest::example::standings;
    use crate::golden;

    #[test]
    fn the_picture_is_as_on_file() {
        golden::assert_is("chart/example.svg", &Chart::of(&standings()).svg());
    }

    #[test]
    fn who_has_no_figure_has_no_bar() {
        let chart = Chart::of(&standings());
        assert_eq!(chart.series, ["Forebay", "rclone", "s3fs"]);
        assert!(chart.groups.iter().all(|group| group.values[2].is_none()));
    }

    #[test]
    fn names_cannot_break_the_picture() {
        assert_eq!(escaped("a<b>&"), "a&lt;b&gt;&amp;");
    }
}
