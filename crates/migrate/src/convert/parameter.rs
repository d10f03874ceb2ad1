use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type};

/// A value in PostgreSQL's binary form, as [`convert`](super::convert) makes it; none is NULL.
///
/// As a statement's parameter it is sent as it is, so the parameter must have the type that the value
/// was converted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryValue(pub Option<Vec<u8>>);

impl ToSql for BinaryValue {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match &self.0 {
            None => Ok(IsNull::Yes),
            Some(bytes) => {
                out.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        type_: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.to_sql(type_, out)
    }
}
