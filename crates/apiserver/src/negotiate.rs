//! Which shape of answer a client asks for in its Accept header.

use http::{HeaderMap, header};
use springtide_machinery::error::ApiError;

use crate::request::Query;

/// The media types answers come in.
const SERVED: [&str; 2] = ["application/json", "application/yaml"];

/// How an object or a list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As it is.
    Object,
    /// As a metav1 Table.
    Table {
        /// `v1` or `v1beta1`.
        version: &'static str,
        /// What each row carries of its object.
        include: Include,
    },
    /// As PartialObjectMetadata.
    Metadata {
        /// `v1` or `v1beta1`.
        version: &'static str,
    },
}

/// What a row of a Table carries of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

/// What a client accepts, after negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The shape.
    pub(crate) shape: Shape,
    /// Whether the answer is to be YAML; for single objects and lists, never for watches.
    pub(crate) yaml: bool,
}

impl Accepted {
    const PLAIN: Accepted = Accepted {
        shape: Shape::Object,
        yaml: false,
    };
}

/// Chooses among what the client accepts the first that can be served.
pub(crate) fn negotiate(headers: &HeaderMap, query: &Query<'_>) -> Result<Accepted, ApiError> {
    let Some(accept) = headers.get(header::ACCEPT) else {
        return Ok(Accepted::PLAIN);
    };
    let accept = accept.to_str().unwrap_or_default();
    if matches!(accept, "" | "application/json" | "*/*") {
        return Ok(Accepted::PLAIN);
    }
    for range in media_ranges(accept) {
        let yaml = match range.media_type {
            "application/json" | "application/*" | "*/*" => false,
            "application/yaml" => true,
            _ => continue,
        };
        if let Some(shape) = shape(&range, query)? {
            return Ok(Accepted { shape, yaml });
        }
    }
    Err(ApiError::not_acceptable(&SERVED))
}

/// The shape a media range asks for; none if it is not known, so that the next is tried.
fn shape(range: &MediaRange<'_>, query: &Query<'_>) -> Result<Option<Shape>, ApiError> {
    let Some(wanted) = range.parameter("as") else {
        return Ok(Some(Shape::Object));
    };
    if range.parameter("g") != Some("meta.k8s.io") {
        return Ok(None);
    }
    let version = match range.parameter("v") {
        Some("v1") => "v1",
        Some("v1beta1") => "v1beta1",
        _ => return Ok(None),
    };
    Ok(match wanted {
        "Table" => Some(Shape::Table {
            version,
            include: include(query)?,
        }),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Shape::Metadata { version }),
        _ => None,
    })
}

fn include(query: &Query<'_>) -> Result<Include, ApiError> {
    match query.text("includeObject") {
        None | Some("Metadata") => Ok(Include::Metadata),
        Some("None") => Ok(Include::None),
        Some("Object") => Ok(Include::Object),
        Some(other) => Err(ApiError::bad_request(format!(
            "unrecognized includeObject value: {other:?}"
        ))),
    }
}

/// One element of an Accept header.
pub(crate) struct MediaRange<'a> {
    /// As in `application/json`.
    pub(crate) media_type: &'a str,
    parameters: &'a str,
}

impl<'a> MediaRange<'a> {
    /// A parameter's value.
    pub(crate) fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.split(';').find_map(|parameter| {
            let (key, value) = parameter.trim().split_once('=')?;
            (key.trim() == name).then(|| value.trim().trim_matches('"'))
        })
    }

    fn quality(&self) -> f32 {
        self.parameter("q")
            .and_then(|quality| quality.parse().ok())
            .unwrap_or(1.0)
    }
}

/// The elements of an Accept header, the most wanted first, those with q=0 left out.
pub(crate) fn media_ranges(accept: &str) -> Vec<MediaRange<'_>> {
    let mut ranges: Vec<MediaRange<'_>> = accept
        .split(',')
        .map(|element| {
            let (media_type, parameters) = element.split_once(';').unwrap_or((element, ""));
            MediaRange {
                media_type: media_type.trim(),
                parameters,
            }
        })
        .filter(|range| range.quality() > 0.0)
        .collect();
    ranges.sort_by(|a, b| b.quality().total_cmp(&a.quality()));
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &'static str) -> Result<Accepted, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().expect("header"));
        negotiate(&headers, &Query::default())
    }

    #[test]
    fn kubectls_headers_are_understood() {
        let table = accepted(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
        );
        assert_eq!(
            table.expect("table").shape,
            Shape::Table {
                version: "v1",
                include: Include::Metadata
            }
        );
        let typed = accepted("application/vnd.kubernetes.protobuf,application/json");
        assert_eq!(typed.expect("json"), Accepted::PLAIN);
        let partial = accepted("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
        assert_eq!(
            partial.expect("metadata").shape,
            Shape::Metadata { version: "v1" }
        );
        assert!(accepted("application/yaml").expect("yaml").yaml);
    }

    #[test]
    fn the_wanted_quality_orders_the_choices() {
        assert!(
            !accepted("application/yaml;q=0.5, application/json")
                .expect("json")
                .yaml
        );
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_406() {
        let refused = accepted("application/vnd.kubernetes.protobuf").expect_err("refused");
        assert_eq!(refused.code(), 406);
    }
}
