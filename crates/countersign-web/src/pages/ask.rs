//! Two small pages that many things share: one question with a button, and one thing told.

use askama::Template;
use countersign_registry::Error;

use super::visit::Frame;

/// A field of a question.
#[derive(Default)]
pub(super) struct Ask {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) kind: &'static str,
    pub(super) value: String,
    pub(super) hint: &'static str,
    /// Further attributes, as markup.
    pub(super) more: &'static str,
}

impl Ask {
    /// Whose account is meant, where nobody is signed in.
    pub(super) fn who() -> Self {
        Self {
            name: "who",
            label: "User name or e-mail address",
            kind: "text",
            more: "autocomplete=\"username\" autocapitalize=\"none\" spellcheck=\"false\" maxlength=\"254\" required",
            ..Self::default()
        }
    }
}

/// A further button of a question: a form of its own.
pub(super) struct Button {
    pub(super) hidden: Vec<(&'static str, String)>,
    pub(super) action: &'static str,
    pub(super) label: String,
}

/// One question, with what it is about and a button.
#[derive(Template)]
#[template(path = "account/ask.html")]
pub(super) struct AskPage<'a> {
    pub(super) frame: &'a Frame,
    pub(super) title: &'static str,
    pub(super) text: String,
    pub(super) fault: Option<&'a Error>,
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) hidden: Vec<(&'static str, String)>,
    pub(super) asks: Vec<Ask>,
    pub(super) action: &'a str,
    pub(super) label: &'static str,
    pub(super) dangerous: bool,
    /// A second button: name, value, label.
    pub(super) second: Option<(&'static str, &'static str, &'static str)>,
    /// Further ways to go on.
    pub(super) buttons: Vec<Button>,
    /// A way elsewhere: label and path.
    pub(super) other: Option<(&'static str, &'static str)>,
}

impl<'a> AskPage<'a> {
    /// Without anything in it.
    pub(super) fn new(frame: &'a Frame) -> Self {
        Self {
            frame,
            title: "",
            text: String::new(),
            fault: None,
            facts: Vec::new(),
            hidden: Vec::new(),
            asks: Vec::new(),
            action: "",
            label: "",
            dangerous: false,
            second: None,
            buttons: Vec::new(),
            other: None,
        }
    }
}

/// One thing told, with a way on.
#[derive(Template)]
#[template(path = "account/told.html")]
pub(super) struct ToldPage<'a> {
    pub(super) frame: &'a Frame,
    pub(super) title: &'static str,
    pub(super) text: String,
    /// A path of ours, or the address of a provider that the operator configured.
    pub(super) link: &'a str,
    pub(super) label: &'static str,
    pub(super) strong: bool,
}
