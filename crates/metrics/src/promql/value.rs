use crate::series_store::{Labels, Sample};

/// What a query answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number without labels at the time of evaluation.
    Scalar(Sample),
    /// A text.
    Text(String),
    /// One value a series. Sorted by labels, unless the query itself sorts.
    Vector(Vec<Element>),
    /// Several values a series, sorted by labels.
    Matrix(Vec<SeriesValues>),
}

/// A series' value at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// What names the series.
    pub labels: Labels,
    /// The value and the time of evaluation.
    pub sample: Sample,
}

/// A series' values at several times.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesValues {
    /// What names the series.
    pub labels: Labels,
    /// The values in the order of time; never empty.
    pub samples: Vec<Sample>,
}
