//! Text that becomes HTML by hand: escaping, and the little Markdown that manifests may write in their set-up steps.
//!
//! The problem: a manifest's set-up text is a connector author's, and a page's markup is ours. The contract: every character is escaped first,
//! and only what this file writes is markup: paragraphs, `#` headings, `-` and `1.` lists, fenced code, `code`, **bold**, links and bare
//! addresses with `http:` or `https:`. Raw HTML shows as it was typed. Input over [`MAX_MARKDOWN`] bytes is cut.

use std::fmt;

/// A manifest has at most 64 KiB as a whole, so this cuts nothing that was accepted.
const MAX_MARKDOWN: usize = 64 << 10;

/// HTML that this crate wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markup(String);

impl Markup {
    /// Whether there is nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Markup {}

/// `text` with every character that means something in HTML, also inside quotes, written as a reference.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A guest's or provider's line, made inert: control characters and those that turn the direction of writing or hide become visible escapes.
#[must_use]
pub fn inert(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if sluice_sandbox::harmless(c) || matches!(c, '\n' | '\t') {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out
}

/// Whether an address may stand in a link: http and https only.
#[must_use]
pub fn linkable(address: &str) -> bool {
    let web = address.starts_with("https://") || address.starts_with("http://");
    web && address.len() <= 2048
        && !address.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '"' | '<' | '>' | '`' | '\\'))
        && url::Url::parse(address).is_ok()
}

/// The Markdown described above, as HTML.
#[must_use]
pub fn markdown(text: &str) -> Markup {
    let mut end = text.len().min(MAX_MARKDOWN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut blocks = Blocks::default();
    for line in text.get(..end).unwrap_or_default().lines() {
        blocks.line(line);
    }
    blocks.close();
    Markup(blocks.out)
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    Paragraph,
    List,
    Numbers,
    Code,
}

#[derive(Default)]
struct Blocks {
    out: String,
    open: Open,
}

impl Blocks {
    fn line(&mut self, line: &str) {
        let trimmed = line.trim();
        if trimmed.starts_with("```") {
            if self.open == Open::Code {
                self.close();
            } else {
                self.switch(Open::Code);
            }
            return;
        }
        if self.open == Open::Code {
            self.out.push_str(&escape(&inert(line)));
            self.out.push('\n');
            return;
        }
        if trimmed.is_empty() {
            self.close();
        } else if trimmed.starts_with('#') {
            self.close();
            self.out.push_str("<h3>");
            inline(&mut self.out, trimmed.trim_start_matches('#').trim());
            self.out.push_str("</h3>\n");
        } else if let Some(item) = trimmed.strip_prefix("- ").or_else(|| trimmed.strip_prefix("* ")) {
            self.item(Open::List, item);
        } else if let Some(item) = numbered(trimmed) {
            self.item(Open::Numbers, item);
        } else {
            let goes_on = matches!(self.open, Open::List | Open::Numbers) && line.starts_with(' ');
            if goes_on {
                self.out.push(' ');
            } else if self.open == Open::Paragraph {
                self.out.push('\n');
            } else {
                self.switch(Open::Paragraph);
            }
            inline(&mut self.out, trimmed);
        }
    }

    fn item(&mut self, list: Open, text: &str) {
        if self.open == list {
            self.out.push_str("</li>\n<li>");
        } else {
            self.switch(list);
        }
        inline(&mut self.out, text);
    }

    fn switch(&mut self, to: Open) {
        self.close();
        self.open = to;
        self.out.push_str(match to {
            Open::Nothing => "",
            Open::Paragraph => "<p>",
            Open::List => "<ul>\n<li>",
            Open::Numbers => "<ol>\n<li>",
            Open::Code => "<pre>",
        });
    }

    fn close(&mut self) {
        self.out.push_str(match self.open {
            Open::Nothing => "",
            Open::Paragraph => "</p>\n",
            Open::List => "</li>\n</ul>\n",
            Open::Numbers => "</li>\n</ol>\n",
            Open::Code => "</pre>\n",
        });
        self.open = Open::Nothing;
    }
}

/// `1. text` → `text`.
fn numbered(line: &str) -> Option<&str> {
    let (digits, rest) = line.split_once(". ")?;
    (!digits.is_empty() && digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(rest)
}

/// Code, bold, links and bare addresses within a line; one pass, no nesting but bold around words.
fn inline(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((code, after)) = fenced(rest, "`", "`") {
            out.push_str("<code>");
            out.push_str(&escape(&inert(code)));
            out.push_str("</code>");
            rest = after;
        } else if let Some((bold, after)) = fenced(rest, "**", "**") {
            out.push_str("<strong>");
            out.push_str(&escape(&inert(bold)));
            out.push_str("</strong>");
            rest = after;
        } else if let Some((label, address, after)) = link(rest) {
            anchor(out, address, label);
            rest = after;
        } else if let Some((address, after)) = bare(rest) {
            anchor(out, address, address);
            rest = after;
        } else {
            out.push_str(&escape(&inert(c.encode_utf8(&mut [0; 4]))));
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
}

fn fenced<'a>(text: &'a str, open: &str, close: &str) -> Option<(&'a str, &'a str)> {
    let (inside, after) = text.strip_prefix(open)?.split_once(close)?;
    (!inside.is_empty()).then_some((inside, after))
}

fn link(text: &str) -> Option<(&str, &str, &str)> {
    let (label, rest) = fenced(text, "[", "]")?;
    let (address, after) = fenced(rest, "(", ")")?;
    linkable(address).then_some((label, address, after))
}

fn bare(text: &str) -> Option<(&str, &str)> {
    if !text.starts_with("https://") && !text.starts_with("http://") {
        return None;
    }
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\'' | '`' | ')' | '|' | '*')).unwrap_or(text.len());
    let address = text.get(..end)?.trim_end_matches(['.', ',', ';', ':', '!', '?']);
    linkable(address).then(|| (address, text.get(address.len()..).unwrap_or_default()))
}

fn anchor(out: &mut String, address: &str, label: &str) {
    out.push_str(&format!("<a href=\"{}\" rel=\"noopener noreferrer\">{}</a>", escape(address), escape(&inert(label))));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, html: &str) {
        assert_eq!(markdown(text).to_string(), html, "{text}");
    }

    #[test]
    fn set_up_steps_read_as_they_were_meant() {
        check("Open **Settings**, then `New app`.", "<p>Open <strong>Settings</strong>, then <code>New app</code>.</p>\n");
        check("1. one\n2. two\n   goes on\n\nafter", "<ol>\n<li>one</li>\n<li>two goes on</li>\n</ol>\n<p>after</p>\n");
        check("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n");
        check("## Limits\n```\na < b\n```", "<h3>Limits</h3>\n<pre>a &lt; b\n</pre>\n");
        check(
            "[here](https://example.org/a?b=1&c=2) or https://example.org/x.",
            "<p><a href=\"https://example.org/a?b=1&amp;c=2\" rel=\"noopener noreferrer\">here</a> or \
             <a href=\"https://example.org/x\" rel=\"noopener noreferrer\">https://example.org/x</a>.</p>\n",
        );
    }

    #[test]
    fn nothing_that_was_written_becomes_markup() {
        check("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n");
        check("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>\n");
        check("`<b>` **<i>**", "<p><code>&lt;b&gt;</code> <strong>&lt;i&gt;</strong></p>\n");
        check(
            "[<img src=x>](https://e.example/\"onclick=x)",
            "<p>[&lt;img src=x&gt;](<a href=\"https://e.example/\" rel=\"noopener noreferrer\">https://e.example/</a>&quot;onclick=x)</p>\n",
        );
        for text in ["**", "`", "[", "[a](", "```", "****", "[]()", "https://", "1. ", "- "] {
            let html = markdown(text).to_string();
            assert!(!html.contains("href") && !html.contains("<script"), "{html}");
        }
    }

    #[test]
    fn what_turns_writing_around_is_made_visible() {
        assert_eq!(inert("a\u{202e}b\u{7}c\nd"), "a\\u{202e}b\\u{7}c\nd");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert!(markdown(&"ä".repeat(70_000)).to_string().len() <= MAX_MARKDOWN + 16);
    }
}
