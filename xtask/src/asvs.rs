//! Holds `docs/asvs.md` against the project: every requirement that counts stands in it once, and every place that it
//! points to is there.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use crate::arch::root;

    /// The numbers of version 5.0.0 that count here: levels 1 and 2, and level 3 of chapters 6 and 7.
    const WANTED: &str = "\
        1.1.1 1.1.2 1.2.1 1.2.2 1.2.3 1.2.4 1.2.5 1.2.6 1.2.7 1.2.8 1.2.9 1.3.1 1.3.2 1.3.3 1.3.4 1.3.5 \
        1.3.6 1.3.7 1.3.8 1.3.9 1.3.10 1.3.11 1.4.1 1.4.2 1.4.3 1.5.1 1.5.2 \
        2.1.1 2.1.2 2.1.3 2.2.1 2.2.2 2.2.3 2.3.1 2.3.2 2.3.3 2.3.4 2.4.1 \
        3.2.1 3.2.2 3.3.1 3.3.2 3.3.3 3.3.4 3.4.1 3.4.2 3.4.3 3.4.4 3.4.5 3.4.6 3.5.1 3.5.2 3.5.3 3.5.4 \
        3.5.5 3.7.1 3.7.2 \
        4.1.1 4.1.2 4.1.3 4.2.1 4.3.1 4.3.2 4.4.1 4.4.2 4.4.3 4.4.4 \
        5.1.1 5.2.1 5.2.2 5.2.3 5.3.1 5.3.2 5.4.1 5.4.2 5.4.3 \
        6.1.1 6.1.2 6.1.3 6.2.1 6.2.2 6.2.3 6.2.4 6.2.5 6.2.6 6.2.7 6.2.8 6.2.9 6.2.10 6.2.11 6.2.12 6.3.1 \
        6.3.2 6.3.3 6.3.4 6.3.5 6.3.6 6.3.7 6.3.8 6.4.1 6.4.2 6.4.3 6.4.4 6.4.5 6.4.6 6.5.1 6.5.2 6.5.3 \
        6.5.4 6.5.5 6.5.6 6.5.7 6.5.8 6.6.1 6.6.2 6.6.3 6.6.4 6.7.1 6.7.2 6.8.1 6.8.2 6.8.3 6.8.4 \
        7.1.1 7.1.2 7.1.3 7.2.1 7.2.2 7.2.3 7.2.4 7.3.1 7.3.2 7.4.1 7.4.2 7.4.3 7.4.4 7.4.5 7.5.1 7.5.2 \
        7.5.3 7.6.1 7.6.2 \
        8.1.1 8.1.2 8.2.1 8.2.2 8.2.3 8.3.1 8.4.1 \
        9.1.1 9.1.2 9.1.3 9.2.1 9.2.2 9.2.3 9.2.4 \
        10.1.1 10.1.2 10.2.1 10.2.2 10.3.1 10.3.2 10.3.3 10.3.4 10.4.1 10.4.2 10.4.3 10.4.4 10.4.5 10.4.6 \
        10.4.7 10.4.8 10.4.9 10.4.10 10.4.11 10.5.1 10.5.2 10.5.3 10.5.4 10.5.5 10.6.1 10.6.2 10.7.1 10.7.2 \
        10.7.3 \
        11.1.1 11.1.2 11.2.1 11.2.2 11.2.3 11.3.1 11.3.2 11.3.3 11.4.1 11.4.2 11.4.3 11.4.4 11.5.1 11.6.1 \
        12.1.1 12.1.2 12.1.3 12.2.1 12.2.2 12.3.1 12.3.2 12.3.3 12.3.4 \
        13.1.1 13.2.1 13.2.2 13.2.3 13.2.4 13.2.5 13.3.1 13.3.2 13.4.1 13.4.2 13.4.3 13.4.4 13.4.5 \
        14.1.1 14.1.2 14.2.1 14.2.2 14.2.3 14.2.4 14.3.1 14.3.2 14.3.3 \
        15.1.1 15.1.2 15.1.3 15.2.1 15.2.2 15.2.3 15.3.1 15.3.2 15.3.3 15.3.4 15.3.5 15.3.6 15.3.7 \
        16.1.1 16.2.1 16.2.2 16.2.3 16.2.4 16.2.5 16.3.1 16.3.2 16.3.3 16.3.4 16.4.1 16.4.2 16.4.3 16.5.1 \
        16.5.2 16.5.3 \
        17.1.1 17.2.1 17.2.2 17.2.3 17.2.4 17.3.1 17.3.2";

    const CRATES: &[(&str, &str)] = &[
        ("registry:", "crates/countersign-registry/"),
        ("web:", "crates/countersign-web/"),
        ("trust:", "crates/countersign-trust/"),
        ("formats:", "crates/countersign-formats/"),
        ("testkit:", "crates/countersign-testkit/"),
        ("client:", "crates/countersign/"),
        ("server:", "crates/countersignd/"),
    ];

    /// The rows of the page: numbers, and the cell that says where.
    fn rows(page: &str) -> Vec<(Vec<&str>, &str)> {
        page.lines()
            .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
            .filter(|line| !line.starts_with("id |"))
            .map(|line| {
                let cells: Vec<&str> = line.splitn(3, " | ").collect();
                let [ids, asked, place] = cells[..] else {
                    panic!("not three cells: {line}");
                };
                assert!(!asked.is_empty() && !place.is_empty(), "{line}");
                (ids.split(',').map(str::trim).collect(), place)
            })
            .collect()
    }

    /// What stands between back quotes and names a place.
    fn places(cell: &str) -> impl Iterator<Item = &str> {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .filter(|text| text.contains('/') || text.contains('.'))
    }

    /// Is something of this name defined in that file?
    fn defines(path: &str, text: &str, name: &str) -> bool {
        if !path.ends_with(".rs") {
            return text.contains(name);
        }
        ["fn", "const", "struct", "enum", "static", "mod"]
            .iter()
            .any(|word| {
                let needle = format!("{word} {name}");
                text.match_indices(&needle).any(|(at, _)| {
                    let rest = &text[at + needle.len()..];
                    !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
                })
            })
            // A key of the configuration.
            || text.contains(&format!("\"{name}\" =>"))
    }

    #[test]
    fn every_requirement_that_counts_is_answered_once() {
        let page = fs::read_to_string(root().join("docs/asvs.md")).expect("docs/asvs.md");
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        for (ids, _) in rows(&page) {
            for id in ids {
                *seen.entry(id).or_default() += 1;
            }
        }
        for id in WANTED.split_whitespace() {
            assert_eq!(seen.remove(id), Some(1), "{id} must stand in one row");
        }
        assert!(seen.is_empty(), "not asked for: {seen:?}");
    }

    #[test]
    fn every_place_that_the_page_points_to_is_there() {
        let page = fs::read_to_string(root().join("docs/asvs.md")).expect("docs/asvs.md");
        let mut found = 0;
        for (ids, cell) in rows(&page) {
            let mut here = 0;
            for place in places(cell) {
                let (path, name) = place.split_once("::").unwrap_or((place, ""));
                let path = CRATES
                    .iter()
                    .find_map(|(short, long)| Some(format!("{long}{}", path.strip_prefix(short)?)))
                    .unwrap_or_else(|| path.to_owned());
                let text = fs::read_to_string(root().join(&path))
                    .unwrap_or_else(|error| panic!("{ids:?}: {path}: {error}"));
                assert!(
                    name.is_empty() || defines(&path, &text, name),
                    "{ids:?}: {path} has no {name}"
                );
                here += 1;
            }
            let excused = ["n/a", "operator —", "open —"]
                .iter()
                .any(|word| cell.starts_with(word));
            assert!(
                here > 0 || excused,
                "{ids:?} says neither where nor why not"
            );
            found += here;
        }
        assert!(found > 150, "only {found} places were found on the page");
    }

    #[test]
    fn a_place_that_is_not_there_is_noticed() {
        assert!(defines("a.rs", "async fn one_two() {}", "one_two"));
        assert!(!defines("a.rs", "async fn one_two_three() {}", "one_two"));
        assert!(!defines("a.rs", "// one_two is gone", "one_two"));
        let cell = "`registry:src/lib.rs::x` — not `*`, and `docs/permissions.md`";
        assert_eq!(
            places(cell).collect::<Vec<_>>(),
            ["registry:src/lib.rs::x", "docs/permissions.md"]
        );
    }
}
