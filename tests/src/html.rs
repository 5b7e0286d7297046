//! Just enough HTML to fill in a form.
//!
//! Invariant: what it posts is what the page holds, as a browser without scripts would.

/// A form of a page.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    pub(crate) action: String,
    /// Hidden and text fields, and ticked boxes, in order.
    pub(crate) fields: Vec<(String, String)>,
}

impl Form {
    /// The form whose opening tag holds `mark`.
    pub(crate) fn find(page: &str, mark: &str) -> Option<Self> {
        let (start, opening) = tags(page, "form").find(|(_, tag)| tag.contains(mark))?;
        let inner = &page[start..];
        let inner = &inner[..inner.find("</form").unwrap_or(inner.len())];
        let inputs = tags(inner, "input").map(|(_, tag)| tag).filter(|tag| {
            let kind = attribute(tag, "type").unwrap_or_default();
            !matches!(kind.as_str(), "checkbox" | "radio")
                || tag.split_whitespace().any(|part| part.trim_end_matches('>') == "checked")
        });
        let fields = inputs.filter_map(|tag| {
            Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_else(|| "on".to_owned())))
        });
        Some(Self { action: attribute(opening, "action").unwrap_or_default(), fields: fields.collect() })
    }

    /// Fills in a field.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.fields.retain(|(given, _)| given != name);
        self.fields.push((name.to_owned(), value.to_owned()));
    }

    /// The body to be posted.
    pub(crate) fn encoded(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.fields).finish()
    }
}

/// Every opening tag of this name, and where it stands.
fn tags<'a>(page: &'a str, name: &str) -> impl Iterator<Item = (usize, &'a str)> {
    let opening = format!("<{name}");
    let starts: Vec<usize> = page.match_indices(&opening).map(|(start, _)| start).collect();
    starts.into_iter().map(|start| {
        let tag = &page[start..];
        (start, &tag[..=tag.find('>').unwrap_or(tag.len() - 1)])
    })
}

/// An attribute's value, its character references resolved.
pub(crate) fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, value) = tag.split_once(&format!(" {name}=\""))?;
    let (value, _) = value.split_once('"')?;
    let named = [("&#38;", "&"), ("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">")];
    let named =
        named.into_iter().chain([("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&#x27;", "'"), ("&amp;", "&")]);
    Some(named.fold(value.to_owned(), |text, (from, to)| text.replace(from, to)))
}
