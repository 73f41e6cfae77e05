//! Entries to take away, as CSV or JSON: everything the filter lets through, streamed.
//!
//! The store is read a page at a time and holds no transaction between pages, so that a slow download keeps nobody waiting. If it fails half way
//! the connection is cut, which a browser shows as a failed download: a file that ends early never looks whole.

use super::{entries::Filter, own_connection};
use crate::control::api::EntryRow;
use crate::web::{Shared, csv, form::Query, reply::Reply, session::Member};
use axum::{
    body::Body,
    extract::{Path, State},
    response::IntoResponse as _,
};
use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream};
use http::{HeaderValue, header};
use sluice_model::{ConnectionId, UserId};
use sluice_store::StoreError;

/// Entries read at a time: some 200 KiB of text.
const PAGE: usize = 2_000;

pub async fn csv(State(web): State<Shared>, member: Member, Path(id): Path<String>, query: Query) -> Reply {
    let head = format!("{}\r\n", csv::HEAD);
    deliver(
        web,
        member,
        id,
        query,
        Format { kind: "text/csv; charset=utf-8", extension: "csv", head, between: "", tail: "", write: csv::entry },
    )
    .await
}

pub async fn json(State(web): State<Shared>, member: Member, Path(id): Path<String>, query: Query) -> Reply {
    let format =
        Format { kind: "application/json", extension: "json", head: "[\n".to_owned(), between: ",\n", tail: "\n]\n", write: json_entry };
    deliver(web, member, id, query, format).await
}

struct Format {
    kind: &'static str,
    extension: &'static str,
    head: String,
    between: &'static str,
    tail: &'static str,
    write: fn(&mut String, &EntryRow),
}

/// Where a download has got to.
struct Place {
    web: Shared,
    user: UserId,
    connection: ConnectionId,
    filter: Filter,
    format: Format,
    after: Option<String>,
    written: bool,
    done: bool,
}

async fn deliver(web: Shared, member: Member, id: String, query: Query, format: Format) -> Reply {
    let connection = own_connection(&web, &member, &id).await?;
    let name = format!("attachment; filename=\"{}-{}.{}\"", connection.connector, connection.public_id, format.extension);
    let kind = format.kind;
    let head = Bytes::from(format.head.clone());
    let place = Place {
        web,
        user: member.user.id,
        connection: connection.id,
        filter: Filter::read(&query),
        format,
        after: None,
        written: false,
        done: false,
    };
    let pages = stream::try_unfold(place, |place| async move { next(place).await });
    let body = stream::once(async move { Ok::<_, StoreError>(head) });
    let body =
        Body::from_stream(futures_util::StreamExt::chain(body, pages).inspect_err(|why| tracing::error!("a download was cut: {why}")));
    let mut answer = body.into_response();
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(name) = HeaderValue::from_str(&name) {
        answer.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(answer)
}

async fn next(mut place: Place) -> Result<Option<(Bytes, Place)>, StoreError> {
    if place.done {
        return Ok(None);
    }
    let query = place.filter.ask(place.user, place.connection, place.after.take(), PAGE, false);
    let page = place.web.app.store.entries(query).await?;
    let mut text = String::with_capacity(page.rows.len() * 128);
    for entry in page.rows.into_iter().map(EntryRow::from) {
        if place.written {
            text.push_str(place.format.between);
        }
        (place.format.write)(&mut text, &entry);
        place.written = true;
    }
    place.done = page.next.is_none();
    place.after = page.next;
    if place.done {
        text.push_str(place.format.tail);
    }
    Ok(Some((Bytes::from(text), place)))
}

fn json_entry(out: &mut String, e: &EntryRow) {
    out.push_str(&e.to_json().to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_store::EntryView;

    fn entry() -> EntryView {
        EntryView {
            connector: "lastfm".into(),
            account: "ada".into(),
            metric: "tracks".into(),
            unit: "1".into(),
            series: None,
            series_label: Some("=cmd()".into()),
            id: Some("-1".into()),
            start: Some(1_795_262_400_000),
            end: None,
            utc_offset: Some(-300),
            day: "2026-11-21".parse().unwrap(),
            value: -1.5,
            detail: Some("{\"artist\":\"a,b\"}".into()),
        }
    }

    #[test]
    fn an_entry_in_json_has_its_detail_as_json() {
        let mut out = String::new();
        json_entry(&mut out, &EntryRow::from(entry()));
        let read: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&read["detail"]["artist"], &read["value"], &read["day"]), (&"a,b".into(), &(-1.5).into(), &"2026-11-21".into()));
    }
}
