//! How an assessment is shown: a table for a terminal, Markdown, an SVG badge, and what a check is about.

use std::fmt::Write as _;

use crate::assessment::{Assessment, Change, Checked, Outcome};
use crate::principles::{self, Check, Track};
use crate::roadmap::Step;

/// A level in words.
pub fn level(level: Option<u8>) -> String {
    level.map_or_else(
        || "not applicable".to_owned(),
        |level| format!("level {level} of 3"),
    )
}

/// How many checks have which result, in a line.
pub fn tally(assessment: &Assessment) -> String {
    let of = |result: Outcome| match assessment.count(result) {
        0 => None,
        count => Some(format!("{count} {}", result.words())),
    };
    let words: Vec<String> = Outcome::ALL.into_iter().filter_map(of).collect();
    format!("{} checks: {}", assessment.checks.len(), words.join(", "))
}

/// Foreign text on one line.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The table for a terminal.
pub fn table(assessment: &Assessment) -> String {
    let mut out = format!(
        "{} against the Principles for Package Repository Security {}\n",
        plain(assessment.name.as_deref().unwrap_or(&assessment.target)),
        assessment.principles
    );
    for track in Track::ALL {
        let Some(state) = assessment.tracks.get(track.letters()) else {
            continue;
        };
        let _ = writeln!(out, "\n{}: {}", track.name(), level(state.level));
        for check in assessment
            .checks
            .iter()
            .filter(|check| check.track == track)
        {
            let _ = writeln!(
                out,
                "  {} {:<7} {:<14} {}",
                check.result.sign(),
                check.id,
                check.result.words(),
                check.title
            );
            if check.result.is_gap() {
                for part in check.parts.iter().filter(|part| part.result.is_gap()) {
                    let _ = writeln!(out, "      {} {}", part.result.sign(), plain(&part.what));
                }
                if !check.note.is_empty() {
                    let _ = writeln!(out, "      {}", plain(&check.note));
                }
            }
        }
    }
    let _ = write!(
        out,
        "\n{}. All in all: {}.",
        tally(assessment),
        level(assessment.level)
    );
    out
}

/// What changed, for a terminal.
pub fn changes(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "Nothing changed since the earlier run.".to_owned();
    }
    let mut out = "Since the earlier run:".to_owned();
    for change in changes {
        let before = change.before.map_or("not there", Outcome::words);
        let _ = write!(
            out,
            "\n  {:<7} {before} → {}   {}",
            change.id,
            change.now.words(),
            change.title
        );
    }
    out
}

/// The roadmap, for a terminal.
pub fn roadmap(steps: &[Step]) -> String {
    if steps.is_empty() {
        return "There is no gap left.".to_owned();
    }
    let mut out = "What to do, in this order:".to_owned();
    for step in steps {
        let holds = if step.holds_level {
            ", a level waits for it"
        } else {
            ""
        };
        let _ = write!(
            out,
            "\n\n{}. {} {} (impact {} of 5{holds})\n   {}",
            step.rank, step.id, step.title, step.impact, step.improvement
        );
    }
    out
}

/// What a check is about.
pub fn explain(check: &Check) -> String {
    let grades: Vec<&str> = check.grades.iter().map(|grade| grade.words()).collect();
    format!(
        "{} {}\n  {}\n  track       {}, level {}\n  applies to  {}\n  shown by    {}\n  impact      {} of 5\n  effort      about {} weeks where it is missing\n  what to do  {}\n  {}",
        check.id,
        check.title,
        check.statement,
        check.track().name(),
        check.level,
        check.applies.words(),
        grades.join(", "),
        check.impact,
        check.effort,
        check.improve,
        principles::LINK
    )
}

/// Text that Markdown and HTML leave alone.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in plain(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// The report in Markdown.
pub fn markdown(assessment: &Assessment, steps: &[Step], changed: Option<&[Change]>) -> String {
    let name = assessment.name.as_deref().unwrap_or(&assessment.target);
    let mut out = format!(
        "# {} against the Principles for Package Repository Security\n\n{}; made {} by {}; Principles {}. Canaries: {}.\n\n**{}**, {}.\n\n",
        escaped(name),
        escaped(&assessment.target),
        escaped(&assessment.time),
        escaped(&assessment.tool),
        escaped(&assessment.principles),
        escaped(assessment.canaries.as_deref().unwrap_or("none")),
        level(assessment.level),
        tally(assessment)
    );
    out.push_str("| Track | Level | Passed or delegated |\n|---|---|---|\n");
    for track in Track::ALL {
        let Some(state) = assessment.tracks.get(track.letters()) else {
            continue;
        };
        let count = |result: Outcome| state.counts.get(result.word()).copied().unwrap_or(0);
        let all: u32 = state.counts.values().sum();
        let _ = writeln!(
            out,
            "| {} | {} | {} of {} |",
            state.name,
            level(state.level),
            count(Outcome::Pass) + count(Outcome::Delegated),
            all - count(Outcome::NotApplicable)
        );
    }
    if let Some(changed) = changed {
        out.push_str("\n## Since the earlier run\n\n");
        if changed.is_empty() {
            out.push_str("Nothing changed.\n");
        }
        for change in changed {
            let before = change.before.map_or("not there", Outcome::words);
            let _ = writeln!(
                out,
                "- {}: {before} → **{}**",
                change.id,
                change.now.words()
            );
        }
    }
    for track in Track::ALL {
        let _ = writeln!(out, "\n## {}", track.name());
        for check in assessment
            .checks
            .iter()
            .filter(|check| check.track == track)
        {
            section(&mut out, check);
        }
    }
    if !steps.is_empty() {
        out.push_str("\n## What to do\n\n");
        for step in steps {
            let _ = writeln!(out, "{}. {}", step.rank, escaped(&step.improvement));
        }
    }
    out
}

fn section(out: &mut String, check: &Checked) {
    let _ = writeln!(
        out,
        "\n### {} {}: {}\n\n{}\n",
        check.id,
        escaped(&check.title),
        check.result.words(),
        escaped(&check.statement)
    );
    if !check.note.is_empty() {
        let _ = writeln!(out, "{}\n", escaped(&check.note));
    }
    for part in &check.parts {
        let _ = writeln!(out, "- {} {}", part.result.sign(), escaped(&part.what));
    }
    for seen in &check.evidence {
        let status = seen
            .status
            .map_or_else(String::new, |status| format!(" → {status}"));
        let _ = writeln!(
            out,
            "- seen {}: {}{status}: {}",
            escaped(&seen.time),
            escaped(&seen.source),
            escaped(&seen.excerpt)
        );
    }
}

/// The badge: an SVG of its own, without anything from elsewhere.
pub fn badge(assessment: &Assessment) -> String {
    let (words, color) = match assessment.level {
        Some(3) => ("level 3", "#2e7d32"),
        Some(2) => ("level 2", "#4f6f00"),
        Some(1) => ("level 1", "#8a5a00"),
        _ => ("level 0", "#a32020"),
    };
    let applying = assessment.checks.len() as u32 - assessment.count(Outcome::NotApplicable);
    let held = assessment.count(Outcome::Pass) + assessment.count(Outcome::Delegated);
    let day = assessment.time.get(..10).unwrap_or_default();
    let title = format!("Package repository security: {words}, {held} of {applying} checks, {day}");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"232\" height=\"20\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>\
         <rect width=\"130\" height=\"20\" fill=\"#333\"/><rect x=\"130\" width=\"102\" height=\"20\" fill=\"{color}\"/>\
         <g fill=\"#fff\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\"><text x=\"6\" y=\"14\">registry security</text>\
         <text x=\"136\" y=\"14\">{words} · {held}/{applying}</text></g></svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assessment::conclude;
    use crate::profile::Profile;
    use crate::script::{Evidence, Target};

    fn made() -> Assessment {
        let profile = Profile {
            name: Some("A <b>registry</b> | of\u{1b}[31m mine".to_owned()),
            ..Profile::default()
        };
        let target = Target {
            site: "https://packages.example.org".to_owned(),
            profile,
            now: 1_795_000_000,
            seed: [0; 32],
        };
        conclude(&target, None, &[])
    }

    #[test]
    fn foreign_text_is_no_markup_and_no_command_to_a_terminal() {
        let mut made = made();
        made.checks[0].evidence.push(Evidence {
            source: "GET https://packages.example.org/".to_owned(),
            status: Some(200),
            sha256: String::new(),
            excerpt: "<script>x</script> [here](http://evil.example)".to_owned(),
            time: made.time.clone(),
        });
        let text = markdown(&made, &crate::roadmap::steps(&made), Some(&[]));
        assert!(
            !text.contains("<script>") && !text.contains("<b>") && !text.contains("[here]("),
            "{text}"
        );
        assert!(
            text.contains("GC3.3")
                && text.contains("level 0 of 3")
                && text.contains("Nothing changed")
        );
        assert!(!table(&made).contains('\u{1b}') && !text.contains('\u{1b}'));
        assert!(table(&made).contains("39 checks: 39 unknown"));
    }

    #[test]
    fn the_badge_says_level_share_and_day() {
        let badge = badge(&made());
        assert!(
            badge.contains("level 0") && badge.contains("0/39") && badge.contains("2026-11-"),
            "{badge}"
        );
        assert!(!badge.contains("http") || badge.matches("http").count() == 1);
    }

    #[test]
    fn a_check_is_explained_with_what_shows_it() {
        let text = explain(principles::find("AN3.3b").unwrap());
        assert!(
            text.contains("attestation")
                && text.contains("level 3")
                && text.contains("Authentication")
        );
    }
}
