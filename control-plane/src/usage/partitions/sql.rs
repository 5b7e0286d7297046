//! Queries about partitions: the owner's functions that make and drop them.

use chrono::NaiveDate;
use sqlx::PgConnection;

pub(super) async fn make(connection: &mut PgConnection, day: NaiveDate) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT make_usage_partition($1) AS "made!""#, day).fetch_one(connection).await
}

pub(super) async fn drop_oldest(connection: &mut PgConnection) -> Result<Option<NaiveDate>, sqlx::Error> {
    sqlx::query_scalar!("SELECT drop_usage_partition()").fetch_one(connection).await
}
