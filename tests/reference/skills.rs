//! One skill: a directory with a manual and a file in a folder.
//!
//! Invariant: what the manifest promises of a file, its digest and size, is what `resources/read` gives.

use rmcp::{
    ErrorData,
    model::{
        CacheScope, GetSkillResult, ListResourcesResult, ListSkillsResult, Resource, ResourceContents, Skill,
        SkillFrontmatter, SkillResource, SkillResources,
    },
};

use crate::server::TTL_MS;

const ROOT: &str = "skill://reference/proofreading";
const FOLDER: &str = "skill://reference/proofreading/references";
const MANUAL: (&str, &str) = (
    "skill://reference/proofreading/SKILL.md",
    "---\nname: proofreading\ndescription: Finds what is wrong in a text\n---\nRead it twice, then see references/marks.md.\n",
);
const MARKS: (&str, &str) =
    ("skill://reference/proofreading/references/marks.md", "A caret inserts, a loop deletes, stet leaves it alone.\n");

/// Every skill.
pub(crate) fn list() -> ListSkillsResult {
    ListSkillsResult::with_all_items(vec![skill()]).with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Public)
}

/// The skill with this manual.
pub(crate) fn get(uri: &str) -> Result<GetSkillResult, ErrorData> {
    if uri != MANUAL.0 {
        return Err(ErrorData::invalid_params(format!("no skill is at {uri}"), None));
    }
    Ok(GetSkillResult::new(skill()).with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Public))
}

/// The direct children of a directory.
pub(crate) fn directory(uri: &str) -> Result<ListResourcesResult, ErrorData> {
    let resources = match uri {
        ROOT => vec![file(MANUAL), Resource::new(FOLDER, "references").with_mime_type("inode/directory")],
        FOLDER => vec![file(MARKS)],
        _ => return Err(ErrorData::invalid_params(format!("{uri} is no directory"), None)),
    };
    let result = ListResourcesResult { resources, ..Default::default() };
    Ok(result.with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Public))
}

/// A file's text.
pub(crate) fn read(uri: &str) -> Option<ResourceContents> {
    let (uri, text) = [MANUAL, MARKS].into_iter().find(|(known, _)| *known == uri)?;
    Some(ResourceContents::text(text, uri).with_mime_type("text/markdown"))
}

fn skill() -> Skill {
    let files = [MANUAL, MARKS].map(|(uri, text)| SkillResource::from_bytes(uri, text.as_bytes()));
    let frontmatter = SkillFrontmatter::new("proofreading", "Finds what is wrong in a text");
    Skill::new(MANUAL.0, frontmatter, SkillResources::Files(files.to_vec()))
}

fn file((uri, text): (&str, &str)) -> Resource {
    let name = uri.rsplit('/').next().unwrap_or(uri);
    Resource::new(uri, name).with_mime_type("text/markdown").with_size(text.len() as u64)
}
