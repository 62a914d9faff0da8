//! The colours of pages, light and dark. Each text that is shown on each ground is read at a contrast of 4.5 and more
//! (WCAG 2.2, 1.4.3); a test computes it.

use crate::rules::{Risk, Tier};
use std::fmt::Write as _;

/// A colour: its name in the style sheet, and its value on light and on dark ground.
type Colour = (&'static str, &'static str, &'static str);

/// Colours of text and of what it stands on. Of `x-ground`, `x-ink` is what is written on it.
const COLOURS: [Colour; 34] = [
    ("paper", "#ffffff", "#16181b"),
    ("panel", "#f6f5f2", "#1f2226"),
    ("ink", "#1f2328", "#e8e6e1"),
    ("muted", "#59616b", "#aaa79f"),
    ("rule", "#d9d6cf", "#3a3e44"),
    ("bar", "#8a3b12", "#e0a070"),
    ("link", "#0b57a4", "#8fbcf2"),
    ("bad", "#a31919", "#ff9f96"),
    ("warn", "#7a4b00", "#f0c070"),
    ("good", "#14622f", "#8fd6a0"),
    ("add-ground", "#e6f5e9", "#17301f"),
    ("add-ink", "#0f4d22", "#b9e8c4"),
    ("del-ground", "#fbe8e6", "#3a1c1c"),
    ("del-ink", "#7d1515", "#f6c0ba"),
    ("mark-ground", "#ffedb0", "#5a4700"),
    ("mark-ink", "#3a2a00", "#fff2c8"),
    ("high-ground", "#8f1414", "#ffaba2"),
    ("high-ink", "#ffffff", "#2a0505"),
    ("harmless-ground", "#e4f2e6", "#1b3322"),
    ("harmless-ink", "#123d1d", "#c8ecd0"),
    ("information-ground", "#e9f1d4", "#2a3418"),
    ("information-ink", "#2b3a0b", "#dcecb4"),
    ("resources-ground", "#faf1c6", "#3b3412"),
    ("resources-ink", "#453800", "#f5e6a0"),
    ("ownership-ground", "#fde6bd", "#46300f"),
    ("ownership-ink", "#4d3000", "#fbd9a0"),
    ("network-ground", "#fdd8b6", "#4f2a12"),
    ("network-ink", "#552700", "#fccda6"),
    ("process-control-ground", "#fbc7b4", "#58231a"),
    ("process-control-ink", "#5c1a06", "#fcc4b4"),
    ("system-ground", "#f5b1ab", "#671d20"),
    ("system-ink", "#5f0c0c", "#ffc9c5"),
    ("plain-ground", "#eceae5", "#2b2f34"),
    ("plain-ink", "#1f2328", "#e8e6e1"),
];

/// How risky calls are: the words and the colour of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shade {
    tier: Tier,
    high: bool,
}

impl Shade {
    /// All of them, the riskiest first.
    pub(super) fn all() -> impl Iterator<Item = Shade> {
        const TIERS: [Tier; 7] = [
            Tier::System,
            Tier::ProcessControl,
            Tier::Network,
            Tier::Ownership,
            Tier::Resources,
            Tier::Information,
            Tier::Harmless,
        ];
        let high = Shade { tier: Tier::System, high: true };
        std::iter::once(high).chain(TIERS.map(|tier| Shade { tier, high: false }))
    }

    /// The word for people.
    pub(super) fn word(self) -> &'static str {
        if self.high { "high risk" } else { self.tier.word() }
    }

    /// The class of the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self.tier {
            _ if self.high => "high",
            Tier::ProcessControl => "process-control",
            tier => tier.word(),
        }
    }

    /// What it is, to follow "lets a program".
    pub(super) fn lets(self) -> &'static str {
        match self.tier {
            _ if self.high => "take over the system",
            Tier::System => "change what the whole system is and does",
            Tier::ProcessControl => "start, stop, watch and steer processes",
            Tier::Network => "talk to others over sockets",
            Tier::Ownership => "make, change and remove files, and say whose they are",
            Tier::Resources => "take more of what all share",
            Tier::Information => "read what others keep",
            Tier::Harmless => "do nothing that could be misused",
        }
    }
}

impl From<&Risk> for Shade {
    /// What hands over the system is one shade, whatever it does it by.
    fn from(risk: &Risk) -> Self {
        Shade { tier: if risk.high { Tier::System } else { risk.tier }, high: risk.high }
    }
}

/// The colours as properties of the style sheet, and a class for each shade. Print is always on light ground.
pub(super) fn properties() -> String {
    let set = |dark: bool| {
        let values = COLOURS.iter().map(|(name, light, on_dark)| (name, if dark { on_dark } else { light }));
        values.fold(String::new(), |text, (name, value)| format!("{text}--{name}:{value};"))
    };
    let mut out = format!(
        ":root{{color-scheme:light dark;{}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}\n",
        set(false),
        set(true)
    );
    for class in Shade::all().map(Shade::class).chain(["plain", "add", "del", "mark"]) {
        let _ = writeln!(out, ".{class}{{background:var(--{class}-ground);color:var(--{class}-ink)}}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The relative luminance of a colour (WCAG 2.2, "relative luminance").
    fn luminance(colour: &str) -> f64 {
        let digits = colour.strip_prefix('#').filter(|digits| digits.len() == 6).unwrap();
        let part = |at: usize| {
            let part = f64::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap()) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// A colour by its name: light, and dark.
    fn colour(name: &str) -> [&'static str; 2] {
        let (_, light, dark) = COLOURS.iter().find(|(other, _, _)| *other == name).unwrap();
        [light, dark]
    }

    #[test]
    fn everything_can_be_read() {
        let black_on_white = contrast("#000000", "#ffffff");
        assert!((black_on_white - 21.0).abs() < 0.01, "{black_on_white}");
        let on_paper = ["ink", "muted", "link", "bad", "warn", "good"].map(str::to_owned);
        let mut pairs: Vec<(String, String)> = Vec::new();
        for text in on_paper {
            pairs.push((text.clone(), "paper".to_owned()));
            pairs.push((text, "panel".to_owned()));
        }
        let grounds = COLOURS.iter().filter_map(|(name, _, _)| name.strip_suffix("-ground"));
        pairs.extend(grounds.map(|name| (format!("{name}-ink"), format!("{name}-ground"))));
        assert!(pairs.len() >= 12 + 12, "{pairs:?}");
        for (text, ground) in pairs {
            for (text_colour, ground_colour) in colour(&text).into_iter().zip(colour(&ground)) {
                let ratio = contrast(text_colour, ground_colour);
                assert!(ratio >= 4.5, "{text} on {ground}: {text_colour} on {ground_colour} is {ratio:.2}");
            }
        }
    }

    /// What is drawn, and the frame of what has the focus, stands out at 3 and more (WCAG 2.2, 1.4.11).
    #[test]
    fn what_is_drawn_can_be_seen() {
        for drawn in ["bar", "link", "muted"] {
            for ground in ["paper", "panel"] {
                for (one, other) in colour(drawn).into_iter().zip(colour(ground)) {
                    assert!(contrast(one, other) >= 3.0, "{drawn} on {ground}: {one} on {other}");
                }
            }
        }
    }

    #[test]
    fn every_shade_has_its_colours_and_words() {
        let shades: Vec<Shade> = Shade::all().collect();
        assert_eq!(shades.len(), 8);
        assert!(shades.is_sorted_by(|one, other| one > other), "the riskiest comes first: {shades:?}");
        for shade in shades {
            colour(&format!("{}-ink", shade.class()));
            assert!(!shade.word().is_empty() && !shade.lets().is_empty());
        }
    }
}
