//! Two columns of a Parquet file of a gibibyte, read through `s3.open()` by the `parquet` crate's own reader of files.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, TimestampMicrosecondType};
use arrow_array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use futures::TryStreamExt as _;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use s3flow::S3;
use s3flow::testing::{LoggedRequest, Operation, S3Server};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

/// 22 columns of 134 bytes a row, in row groups of a quarter of a gibibyte: chunks of columns of 8 and 16 MB.
const ROWS: usize = 8_000_000;
const ROWS_OF_A_GROUP: usize = 2_000_000;
const ROWS_OF_A_BATCH: usize = 100_000;
const MEASURES: usize = 10;
const COUNTS: usize = 9;
/// What is read: two columns that are no neighbours.
const WANTED: [&str; 2] = ["at", "measure_6"];
const KEY: &str = "measurements.parquet";

/// SplitMix64.
fn number(column: usize, row: usize) -> u64 {
    let state = ((column as u64) << 40 | row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// About a second apart, in microseconds.
fn at(row: usize) -> i64 {
    1_700_000_000_000_000 + row as i64 * 1_000_000 + (number(0, row) % 1_000_000) as i64
}

fn measure(column: usize, row: usize) -> f64 {
    number(100 + column, row) as f64 / u64::MAX as f64
}

fn schema() -> Arc<Schema> {
    let mut fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), false),
        Field::new("sensor", DataType::Utf8, false),
    ];
    fields.extend((0..MEASURES).map(|column| Field::new(format!("measure_{column}"), DataType::Float64, false)));
    fields.extend((0..COUNTS).map(|column| Field::new(format!("count_{column}"), DataType::Int32, false)));
    Arc::new(Schema::new(fields))
}

fn batch(schema: &Arc<Schema>, first: usize) -> RecordBatch {
    let rows = || first..first + ROWS_OF_A_BATCH;
    let sensors = rows().map(|row| format!("sensor {}", number(1, row) % 1_000));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows().map(|row| number(2, row) as i64))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows().map(at))),
        Arc::new(StringArray::from_iter_values(sensors)),
    ];
    for column in 0..MEASURES {
        columns.push(Arc::new(Float64Array::from_iter_values(rows().map(|row| measure(column, row)))));
    }
    for column in 0..COUNTS {
        columns.push(Arc::new(Int32Array::from_iter_values(rows().map(|row| number(200 + column, row) as i32))));
    }
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

fn write(path: &Path) -> ParquetMetaData {
    let schema = schema();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROWS_OF_A_GROUP))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), Arc::clone(&schema), Some(properties)).unwrap();
    for first in (0..ROWS).step_by(ROWS_OF_A_BATCH) {
        writer.write(&batch(&schema, first)).unwrap();
    }
    writer.close().unwrap()
}

/// Where the chunks of the columns lie that are read.
fn chunks(metadata: &ParquetMetaData) -> Vec<(u64, u64)> {
    let groups = metadata.row_groups().iter();
    let wanted = groups.flat_map(|group| {
        WANTED.map(|name| group.columns().iter().find(|column| column.column_path().string() == name).unwrap())
    });
    wanted.map(|column| column.byte_range()).collect()
}

fn told(log: &[LoggedRequest]) -> String {
    let line = |request: &LoggedRequest| {
        format!("  {:?} {} {:?}\n", request.operation(), request.header("range").unwrap_or("-"), request.finish())
    };
    log.iter().map(line).collect()
}

/// How many bytes the ranges have that were asked for.
fn asked(log: &[LoggedRequest]) -> u64 {
    let length = |request: &LoggedRequest| {
        let (first, last) = request.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some(last.parse::<u64>().ok()? + 1 - first.parse::<u64>().ok()?)
    };
    let gets = log.iter().filter(|request| request.operation() == Operation::GetObject);
    gets.map(|get| length(get).expect("a range")).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn footer_and_two_columns_are_ten_requests_and_every_byte_is_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(KEY);
    let begun = Instant::now();
    let written = write(&path);
    let size = std::fs::metadata(&path).unwrap().len();
    let (groups, wanted) = (written.num_row_groups(), chunks(&written));
    println!("{size} bytes in {groups} row groups, written in {:.1?}", begun.elapsed());
    assert!(size > 1 << 30 && groups == 4, "{size} bytes in {groups} row groups");

    let server = S3Server::builder().bucket("bucket").md5(false).start().await.unwrap();
    let s3 = server.client_builder().build().unwrap().s3().s3root("s3://bucket").build().unwrap();
    let begun = Instant::now();
    s3.put_files([(KEY, &path)]).await.unwrap();
    println!("stored in {:.1?}", begun.elapsed());
    assert_eq!(server.stored_object("bucket", KEY).unwrap().size(), size);

    server.clear_log();
    columns_are_equal(&s3, &written).await;
    let log = server.log();
    let length = wanted.iter().map(|(_, length)| length).sum::<u64>();
    println!("{} requests for {length} bytes of two columns:\n{}", log.len(), told(&log));
    assert!(log.len() <= 10, "{}", told(&log));
    // The end of the file, and nothing beside the columns.
    assert!(asked(&log) <= length + (1 << 20), "{} bytes asked for", asked(&log));

    server.clear_log();
    chunks_are_equal(&s3, &wanted, File::open(&path).unwrap()).await;
    assert!(server.log().len() <= 9, "{}", told(&server.log()));
}

/// As a user reads them.
async fn columns_are_equal(s3: &S3, written: &ParquetMetaData) {
    let begun = Instant::now();
    let file = s3.open(KEY).await.unwrap();
    let builder = ParquetRecordBatchStreamBuilder::new(file).await.unwrap();
    assert_eq!(builder.metadata().file_metadata().num_rows(), ROWS as i64);
    assert_eq!(chunks(builder.metadata()), chunks(written));
    let mask = ProjectionMask::columns(builder.parquet_schema(), WANTED);
    let mut batches = builder.with_projection(mask).build().unwrap();
    let mut row = 0;
    while let Some(batch) = batches.try_next().await.unwrap() {
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let measures = batch.column(1).as_primitive::<Float64Type>();
        for (time, value) in times.values().iter().zip(measures.values()) {
            assert_eq!((*time, value.to_bits()), (at(row), measure(6, row).to_bits()), "row {row}");
            row += 1;
        }
    }
    assert_eq!(row, ROWS);
    println!("two columns read and compared in {:.1?}", begun.elapsed());
}

/// The same chunks as bytes, beside the file that was stored.
async fn chunks_are_equal(s3: &S3, chunks: &[(u64, u64)], mut file: File) {
    let mut opened = s3.open(KEY).await.unwrap();
    for (start, length) in chunks {
        let (mut found, mut expected) = (vec![0; *length as usize], vec![0; *length as usize]);
        opened.seek(SeekFrom::Start(*start)).await.unwrap();
        opened.read_exact(&mut found).await.unwrap();
        file.seek(SeekFrom::Start(*start)).unwrap();
        file.read_exact(&mut expected).unwrap();
        assert!(found == expected, "{length} bytes from {start}");
    }
}

/// Who reads the footer alone, as planners do.
#[tokio::test]
async fn a_footer_is_one_request_beside_that_of_opening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(KEY);
    let schema = schema();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), Arc::clone(&schema), None).unwrap();
    writer.write(&batch(&schema, 0)).unwrap();
    let written = writer.close().unwrap();
    let server = S3Server::start().await.unwrap();
    let s3 = server.client_builder().build().unwrap().s3().s3root("s3://bucket").build().unwrap();
    s3.put_files([(KEY, &path)]).await.unwrap();
    server.clear_log();
    let mut file = s3.open(KEY).await.unwrap();
    let found = file.get_metadata(Some(&ArrowReaderOptions::new())).await.unwrap();
    assert_eq!(chunks(&found), chunks(&written));
    let operations: Vec<_> = server.log().iter().map(LoggedRequest::operation).collect();
    assert_eq!(operations, [Operation::HeadObject, Operation::GetObject]);
}
