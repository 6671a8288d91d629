//! A form shown again as it was typed: what went wrong above it, and in its fields what the person gave. Works on the
//! rendered page, so that no page has to know of it; what it inserts is escaped here.

use super::guest::Fields;

/// What was typed into which form, and what went wrong.
pub(super) struct Again {
    /// Where the form leads.
    pub(super) action: String,
    /// What was typed; never a secret.
    pub(super) fields: Fields,
    /// What went wrong, or what to do now.
    pub(super) message: String,
    /// The way out of it.
    pub(super) remedy: String,
    /// The code of the error; empty where nothing went wrong.
    pub(super) code: String,
}

/// Names of fields whose values are never kept, sealed or not.
pub(super) fn is_secret(name: &str) -> bool {
    matches!(
        name,
        "password" | "code" | "token" | "tokens" | "secret" | "credential" | "ceremony" | "form"
    )
}

/// The field that an error is about, by its name, where its code tells.
pub(super) fn field_of(code: &str) -> Option<&'static str> {
    Some(match code {
        "user-unknown" | "user-name" | "user-exists" | "name-taken" | "name-retired"
        | "name-refused" => "user",
        "sign-in-wrong" => "user",
        "password-length" | "password-common" | "password-breached" | "password-known" => {
            "password"
        }
        "email-address" | "address-taken" => "address",
        "code-wrong" => "code",
        "token-lifetime" => "days",
        "factor-label" => "label",
        "reason" | "factor-policy-down" => "why",
        "purl-invalid" => "purl",
        "report-evidence" => "evidence",
        "text-length" => "text",
        "project-unknown" => "project",
        "file-unknown" => "file",
        "name-not-typed" => "name",
        "organisation-name" => "display",
        "team-unknown" => "team",
        _ => return None,
    })
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&#38;"),
            '<' => out.push_str("&#60;"),
            '>' => out.push_str("&#62;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The value of an attribute of a start tag, as it stands there.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = tag;
    loop {
        let at = rest.find(name)?;
        let before = rest[..at].chars().next_back();
        let after = &rest[at + name.len()..];
        if before.is_some_and(char::is_whitespace)
            && let Some(value) = after.strip_prefix("=\"")
        {
            return value.split('"').next();
        }
        rest = after;
    }
}

/// The tag with this attribute set to a value, which is escaped already.
fn with_attribute(tag: &str, name: &str, value: &str) -> String {
    if let Some(old) = attribute(tag, name) {
        let from = format!(" {name}=\"{old}\"");
        return tag.replacen(&from, &format!(" {name}=\"{value}\""), 1);
    }
    let end = tag.trim_end_matches(['/', '>']).len();
    format!("{} {name}=\"{value}\">", &tag[..end])
}

/// The pieces of a page: text and tags, in order; together they are the page.
fn pieces(page: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        if at > 0 {
            out.push(&rest[..at]);
        }
        let end = rest[at..].find('>').map_or(rest.len(), |end| at + end + 1);
        out.push(&rest[at..end]);
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        out.push(rest);
    }
    out
}

/// The form with what was typed in it; `None`: it is another one. Also the id of its first field that shows, or of the
/// one that the error is about.
fn refilled(form: &[&str], again: &Again) -> Option<(String, String)> {
    let mut out = String::new();
    let mut target: Option<(bool, String)> = None;
    let mut chosen = String::new();
    let about = field_of(&again.code);
    let mut in_textarea = false;
    for piece in form {
        let name = piece
            .starts_with('<')
            .then(|| attribute(piece, "name"))
            .flatten()
            .unwrap_or_default();
        let known = !name.is_empty() && again.fields.has(name);
        let typed = escaped(again.fields.raw(name));
        let mut tag = (*piece).to_owned();
        if piece.starts_with("<input") && attribute(piece, "type") == Some("hidden") {
            let own = attribute(piece, "value").unwrap_or_default();
            if !is_secret(name) && own != typed {
                return None;
            }
            out.push_str(&tag);
            continue;
        }
        if in_textarea && !piece.starts_with("</textarea") {
            continue;
        }
        if piece.starts_with("<select") {
            chosen = if known {
                typed.clone()
            } else {
                "\n".to_owned()
            };
        }
        if piece.starts_with("<option") && chosen != "\n" {
            tag = tag.replace(" selected", "");
            if attribute(piece, "value") == Some(&chosen) {
                tag = tag.replace('>', " selected>");
            }
        }
        let field = ["<input", "<select", "<textarea"]
            .iter()
            .any(|start| piece.starts_with(start));
        if field {
            match attribute(piece, "type") {
                Some("checkbox") if known || !again.fields.is_empty() => {
                    tag = tag.replace(" checked", "");
                    if known {
                        let end = tag.trim_end_matches(['/', '>']).len();
                        tag = format!("{} checked>", &tag[..end]);
                    }
                }
                Some("password") => {}
                _ if piece.starts_with("<input") && known => {
                    tag = with_attribute(&tag, "value", &typed);
                }
                _ => {}
            }
            if about == Some(name) {
                tag = with_attribute(&tag, "aria-invalid", "true");
                let hint = attribute(piece, "aria-describedby")
                    .map_or_else(|| "fault".to_owned(), |hint| format!("{hint} fault"));
                tag = with_attribute(&tag, "aria-describedby", &hint);
            }
            if let Some(id) = attribute(piece, "id")
                && target
                    .as_ref()
                    .is_none_or(|(sure, _)| !sure && about == Some(name))
            {
                target = Some((about == Some(name), id.to_owned()));
            }
        }
        out.push_str(&tag);
        if piece.starts_with("<textarea") {
            in_textarea = known;
            if known {
                out.push_str(&typed);
            }
        } else if piece.starts_with("</textarea") {
            in_textarea = false;
        }
    }
    Some((out, target.map(|(_, id)| id).unwrap_or_default()))
}

/// The page with the form as it was typed, and with a summary at its head that leads to the field.
pub(super) fn refill(page: &str, again: &Again) -> String {
    let action = escaped(&again.action);
    let pieces = pieces(page);
    let mut out: Vec<String> = Vec::with_capacity(pieces.len() + 4);
    let mut target = String::new();
    let mut open = Vec::new();
    let mut at = 0;
    while at < pieces.len() {
        let piece = pieces[at];
        if piece.starts_with("<details") {
            open.push(out.len());
        } else if piece.starts_with("</details") {
            open.pop();
        }
        if piece.starts_with("<form")
            && target.is_empty()
            && attribute(piece, "action") == Some(&action)
        {
            let end = pieces[at..]
                .iter()
                .position(|piece| piece.starts_with("</form"))
                .map_or(pieces.len(), |end| at + end);
            if let Some((form, id)) = refilled(&pieces[at..end], again)
                && !id.is_empty()
            {
                // What is folded away would not be found.
                for details in &open {
                    out[*details] = out[*details].replace("<details", "<details open");
                }
                out.push(form);
                target = id;
                at = end;
                continue;
            }
        }
        out.push(piece.to_owned());
        at += 1;
    }
    let mut text = format!("<strong>{}</strong>", escaped(&again.message));
    if !again.remedy.is_empty() {
        text = format!("{text} {}", escaped(&again.remedy));
    }
    if !target.is_empty() {
        text = format!(
            "{text} <a href=\"#{target}\">{}</a>",
            super::words::TO_THE_FIELD
        );
    }
    let (class, role) = if again.code.is_empty() {
        ("info", "status")
    } else {
        ("danger", "alert")
    };
    let summary = format!(
        "<aside class=\"banner {class}\" id=\"fault\" role=\"{role}\"><p>{text}</p></aside>"
    );
    let main = out.iter().position(|piece| piece.starts_with("<main"));
    let head = main.and_then(|main| {
        let found = out[main..]
            .iter()
            .position(|piece| piece.starts_with("</header"));
        found.map(|found| main + found + 1)
    });
    if let Some(place) = head.or(main.map(|main| main + 1)) {
        out.insert(place, summary);
    }
    let mut page = out.concat();
    if !again.code.is_empty() {
        page = page.replacen("<title>", &format!("<title>{}", super::words::FAULT), 1);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><title>T</title><main><header><h1>H</h1></header>\
        <form method=\"post\" action=\"/role\"><input type=\"hidden\" name=\"form\" value=\"t\"><input type=\"hidden\" name=\"user\" value=\"bob\"><button>Take away</button></form>\
        <details class=\"more\"><summary>S</summary><form method=\"post\" action=\"/role\"><input type=\"hidden\" name=\"form\" value=\"t\">\
        <input id=\"role-user\" name=\"user\" type=\"text\" value=\"\" required><input id=\"p\" name=\"password\" type=\"password\" value=\"\">\
        <input id=\"tick\" name=\"tick\" type=\"checkbox\" value=\"yes\">\
        <select id=\"role\" name=\"role\"><option value=\"owner\" selected>O</option><option value=\"publisher\">P</option></select>\
        <textarea id=\"why\" name=\"why\">old</textarea></form></details></main></html>";

    fn again(code: &str, text: &str) -> Again {
        Again {
            action: "/role".to_owned(),
            fields: Fields::parse(text.as_bytes()),
            message: "No <user>.".to_owned(),
            remedy: "Look.".to_owned(),
            code: code.to_owned(),
        }
    }

    #[test]
    fn a_form_is_shown_as_it_was_typed_with_a_summary_that_leads_to_the_field() {
        let typed = "user=%22%3E%3Cscript%3E&role=publisher&tick=yes&why=a%26b&password=hunter2";
        let page = refill(PAGE, &again("user-unknown", typed));
        assert!(page.contains("name=\"user\" type=\"text\" value=\"&#34;&#62;&#60;script&#62;\" required aria-invalid=\"true\" aria-describedby=\"fault\">"), "{page}");
        assert!(page.contains("<option value=\"publisher\" selected>"));
        assert!(page.contains("<option value=\"owner\">"));
        assert!(page.contains("value=\"yes\" checked>"));
        assert!(page.contains("name=\"why\">a&#38;b</textarea>"));
        assert!(page.contains("<details open class=\"more\">"));
        assert!(page.contains(
            "role=\"alert\"><p><strong>No &#60;user&#62;.</strong> Look. <a href=\"#role-user\">"
        ));
        assert!(page.contains("name=\"user\" value=\"bob\""));
        assert!(!page.contains("hunter2") && !page.contains("<script>"));
    }

    #[test]
    fn a_row_is_not_mistaken_for_the_form_that_was_typed_and_the_page_stays_whole() {
        let page = refill(PAGE, &again("something-else", "user=carol"));
        assert!(page.contains("id=\"role-user\" name=\"user\" type=\"text\" value=\"carol\""));
        let without: String = page.replace("carol", "");
        assert!(without.contains("<a href=\"#role-user\">"));
        let other = Again {
            action: "/elsewhere".to_owned(),
            ..again("", "user=carol")
        };
        let page = refill(PAGE, &other);
        assert!(!page.contains("carol") && page.contains("role=\"status\""));
        assert_eq!(pieces(PAGE).concat(), PAGE);
    }
}
