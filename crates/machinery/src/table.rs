//! What `kubectl get` prints: the columns of each kind and the cells of an object.

use std::borrow::Cow;

/// A column, as in a metav1 Table's `columnDefinitions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The heading; kubectl prints it in capitals.
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the column with the object's name, else "".
    pub format: &'static str,
    /// What the column shows.
    pub description: Cow<'static, str>,
    /// 0 is always printed, 1 with `-o wide` only.
    pub priority: i32,
}
