//! Behaviour that every S3 service shows: functions over a place in one.

use s3flow::S3;

pub(crate) mod abandoned;
pub(crate) mod copies;
pub(crate) mod deletes;
pub(crate) mod journals;
pub(crate) mod lists;
pub(crate) mod manifests;
pub(crate) mod objects;
pub(crate) mod snapshots;
pub(crate) mod uploads;

/// Where a case works.
pub(crate) struct Place {
    /// A scope without a root.
    pub(crate) urls: S3,
    /// A scope at a prefix that the case has for itself.
    pub(crate) s3: S3,
    pub(crate) bucket: String,
    /// Keys that the service itself cannot store.
    pub(crate) impossible: Vec<String>,
}

/// Every case, for a macro that makes a test of each.
macro_rules! every_case {
    ($tests:ident) => {
        $tests! {
            objects::every_key_comes_back_under_exactly_its_name,
            objects::what_was_put_comes_back_with_its_info,
            objects::ranges_are_cut_at_the_end_and_refused_outside,
            objects::a_missing_key_is_an_object_on_request_and_a_missing_bucket_never,
            objects::without_overwrite_the_first_put_stays,
            objects::a_prefix_is_a_directory,
            objects::a_listing_of_several_pages_is_whole,
            objects::encryption_is_asked_for_and_reported,
            objects::a_presigned_url_works_without_credentials_for_any_key,
            objects::objects_are_read_without_a_file,
            uploads::a_value_of_any_source_is_stored_whole,
            uploads::files_are_stored_under_their_keys,
            uploads::a_stream_of_objects_is_stored_as_it_comes,
            uploads::of_one_key_twice_in_a_batch_the_last_wins,
            uploads::of_20_that_race_for_a_key_exactly_one_wins,
            uploads::without_overwrite_a_large_value_stays_too,
            uploads::a_put_can_ask_for_the_object_that_it_replaces,
            uploads::to_check_and_then_put_works_everywhere,
            uploads::a_value_goes_with_a_checksum_and_is_compared_with_it,
            uploads::what_a_customers_key_stored_it_reads,
            uploads::what_a_customers_key_stored_no_other_reads,
            copies::a_copy_keeps_bytes_and_metadata,
            copies::many_copies_have_an_outcome_each,
            copies::a_copy_is_of_the_object_that_was_asked_for,
            copies::a_large_object_can_be_copied,
            copies::of_a_copy_the_missing_bucket_is_named,
            lists::paths_are_the_next_level_with_empty_objects_and_markers,
            lists::a_recursive_get_of_run_5_leaves_run_56_alone,
            lists::a_recursive_get_takes_the_object_of_exactly_that_name_too,
            lists::a_large_prefix_is_listed_in_order_from_any_key_and_gone_on_with,
            lists::shards_of_a_prefix_have_each_key_once_and_are_gone_on_with,
            lists::get_all_is_all_below_the_root,
            lists::every_info_comes_in_its_place_and_a_missing_bucket_is_an_error,
            lists::a_missing_bucket_is_an_error_of_every_listing_and_question,
            manifests::what_is_listed_is_written_down_and_fetched_copied_and_deleted,
            manifests::of_several_that_write_an_outcome_exactly_one_wins,
            manifests::a_manifest_of_several_parts_is_read_line_by_line,
            snapshots::a_pinned_get_gives_what_was_listed_or_says_what_is_there,
            snapshots::who_asks_for_an_etag_hears_which_one_is_there,
            snapshots::what_is_other_than_it_was_listed_is_found,
            deletes::what_is_deleted_is_gone_and_missing_keys_are_no_error,
            deletes::thousands_are_deleted_as_they_are_listed,
            deletes::every_key_is_deleted_under_exactly_its_name,
            journals::a_dropped_upload_is_gone_on_with,
            journals::a_dropped_download_is_gone_on_with,
            abandoned::what_nobody_finished_is_found_and_aborted,
            abandoned::what_was_begun_just_now_is_not_abandoned,
            abandoned::of_a_missing_bucket_no_uploads_are_listed,
        }
    };
}
pub(crate) use every_case;
