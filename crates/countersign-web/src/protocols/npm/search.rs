//! `npm search`.

use countersign_formats::Ecosystem;
use countersign_formats::npm::documents::Person;
use countersign_formats::npm::registry;
use countersign_registry::{Error, Kind};

use super::{Answer, Call, noted, told};
use crate::error::{Refusal, shown};

/// Most hits of one answer.
const MOST: u64 = 100;

/// What clients put before words to say where to look. Here all words are looked for in names and summaries.
const QUALIFIERS: &[&str] = &["keywords:", "scope:", "author:", "maintainer:"];

/// `?text=&size=&from=`; weights are not looked at.
pub(super) async fn search(call: &Call<'_>) -> Answer {
    let actor = call.site.viewer(call.headers).await.map_err(Refusal::npm)?;
    let text = call.asked("text").unwrap_or_default();
    if text.chars().any(char::is_control) {
        let message = format!("The search text {} holds control characters.", shown(&text));
        return Err(Refusal::npm(
            Error::new(Kind::Rejected, "query-malformed", message)
                .remedy("Search for words of a name or a summary."),
        ));
    }
    let number = |name: &str, otherwise: u64| {
        call.asked(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    let core = &call.site.registry;
    let page = core
        .search_in(
            Ecosystem::Npm,
            &words(&text),
            number("from", 0),
            number("size", 20).clamp(1, MOST),
        )
        .await
        .map_err(Refusal::npm)?;
    let keys: Vec<String> = page.items.iter().map(|hit| hit.key.clone()).collect();
    let mut owners = core
        .owners_of(Ecosystem::Npm, &keys)
        .await
        .map_err(Refusal::npm)?;
    let person = |name: String| Person {
        name,
        email: String::new(),
    };
    let hits: Vec<registry::Hit> = page
        .items
        .iter()
        .enumerate()
        .map(|(at, project)| registry::Hit {
            name: project.name.clone(),
            version: project.latest.clone(),
            description: Some(project.summary.clone()).filter(|summary| !summary.is_empty()),
            keywords: Vec::new(),
            published: project.updated.0,
            links: vec![(
                "npm".to_owned(),
                format!(
                    "{}{}",
                    call.site.url(),
                    crate::pages::links::project(Ecosystem::Npm, &project.key)
                ),
            )],
            // npm's clients print one, whoever it was; owners answer for the package.
            publisher: owners
                .get(&project.key)
                .and_then(|names| names.first().cloned())
                .map(person),
            maintainers: owners
                .remove(&project.key)
                .unwrap_or_default()
                .into_iter()
                .map(person)
                .collect(),
            score: 1.0 / (1.0 + f64::from(u32::try_from(at).unwrap_or(u32::MAX))),
        })
        .collect();
    let answer = told(registry::search(&hits, page.total, core.now().0));
    Ok(noted(&actor, None, answer))
}

fn words(text: &str) -> String {
    let words: Vec<&str> = text
        .split_whitespace()
        .map(|word| {
            QUALIFIERS
                .iter()
                .find_map(|qualifier| word.strip_prefix(qualifier))
                .unwrap_or(word)
        })
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualifiers_are_taken_off_words() {
        assert_eq!(
            words(" left  keywords:pad scope:@s author: "),
            "left pad @s"
        );
    }
}
