//! Reads a page strictly: what browsers forgive is an error here.

use std::collections::BTreeMap;

/// An element, or the text between two tags.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// An element's beginning.
    Element {
        /// Its name.
        name: String,
        /// Its attributes.
        attributes: BTreeMap<String, String>,
    },
    /// Text, with its references as they are written.
    Text(String),
}

/// Elements whose content is no markup.
const RAW: [&str; 2] = ["script", "style"];

/// All pieces of a page in their order.
///
/// # Errors
/// Where a tag is not closed or closed by another, an attribute is not quoted or there twice, or a `&`
/// begins no reference.
pub(crate) fn read(page: &str) -> Result<Vec<Piece>, String> {
    let mut rest = page
        .strip_prefix("<!DOCTYPE html>")
        .ok_or("no document type")?;
    let (mut pieces, mut open): (Vec<Piece>, Vec<String>) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let raw = open.last().is_some_and(|name| RAW.contains(&name.as_str()));
        if raw {
            let end = format!("</{}>", open.last().unwrap());
            let (text, _) = rest.split_once(&end).ok_or("a script without an end")?;
            pieces.push(Piece::Text(text.to_owned()));
            rest = &rest[text.len()..];
        } else if !rest.starts_with('<') {
            let end = rest.find('<').unwrap_or(rest.len());
            check_references(&rest[..end])?;
            pieces.push(Piece::Text(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        if rest.is_empty() {
            break;
        }
        let end = rest.find('>').ok_or("a tag without an end")?;
        let (tag, after) = (&rest[1..end], &rest[end + 1..]);
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            let opened = open
                .pop()
                .ok_or_else(|| format!("</{name}> closes nothing"))?;
            if opened != name {
                return Err(format!("</{name}> closes <{opened}>"));
            }
            continue;
        }
        let (tag, closes) = tag
            .strip_suffix('/')
            .map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        if !name.chars().all(|letter| letter.is_ascii_alphanumeric()) || name.is_empty() {
            return Err(format!("<{name}> is no element"));
        }
        pieces.push(Piece::Element {
            name: name.to_owned(),
            attributes: read_attributes(attributes)?,
        });
        if !closes {
            open.push(name.to_owned());
        }
    }
    match open.pop() {
        Some(name) => Err(format!("<{name}> is not closed")),
        None => Ok(pieces),
    }
}

fn read_attributes(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut attributes = BTreeMap::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest
            .split_once("=\"")
            .ok_or_else(|| format!("{rest:?} is no quoted attribute"))?;
        let (value, after) = after.split_once('"').ok_or("a value without an end")?;
        check_references(value)?;
        let known = attributes.insert(name.trim().to_owned(), value.to_owned());
        if known.is_some() {
            return Err(format!("{name} is there twice"));
        }
        rest = after.trim_start();
    }
    Ok(attributes)
}

fn check_references(text: &str) -> Result<(), String> {
    for (place, _) in text.match_indices('&') {
        let reference = text[place..]
            .split_once(';')
            .map(|(reference, _)| reference);
        if !reference
            .is_some_and(|reference| ["&amp", "&lt", "&gt", "&quot", "&#39"].contains(&reference))
        {
            return Err(format!(
                "{:?} is no reference",
                &text[place..text.len().min(place + 9)]
            ));
        }
    }
    Ok(())
}
