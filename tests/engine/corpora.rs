//! Corpora of every format: the documents that Python wrote, in bounded memory, from any document on, and clear errors.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use xd::ml::Result;
use xd::ml::data::{Corpus, Document, Message, Shelf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpora").join(name)
}

fn parquet(name: &str, column: &str) -> Corpus {
    Corpus::Parquet { path: fixture(&format!("{name}.parquet")), column: column.into() }
}

fn all(corpus: &Corpus) -> Vec<Document> {
    corpus.documents().unwrap().collect::<Result<_>>().unwrap_or_else(|e| panic!("{corpus:?}: {e}"))
}

/// The first error of a corpus.
fn error(corpus: &Corpus) -> String {
    let found = corpus.documents().map(|documents| documents.filter_map(Result::err).next());
    match found {
        Ok(error) => error.unwrap_or_else(|| panic!("{corpus:?} is read")).to_string(),
        Err(error) => error.to_string(),
    }
}

fn texts(texts: &[&str]) -> Vec<Document> {
    texts.iter().map(|text| Document::Text(text.to_string())).collect()
}

fn expected() -> (Vec<Document>, Vec<Document>) {
    let expected: Value = serde_json::from_str(&fs::read_to_string(fixture("expected.json")).unwrap()).unwrap();
    let text = |text: &Value| Document::Text(text.as_str().unwrap().to_string());
    let chat = |chat: &Value| Document::Chat(serde_json::from_value::<Vec<Message>>(chat.clone()).unwrap());
    let list = |key: &str| expected[key].as_array().unwrap().clone();
    (list("texts").iter().map(text).collect(), list("chats").iter().map(chat).collect())
}

const PARQUET_TEXTS: [&str; 10] =
    ["none", "snappy", "zstd", "gzip", "lz4", "brotli", "large_string", "dictionary", "page_v2", "binary"];

#[test]
fn parquet_gives_what_python_wrote() {
    let (texts, chats) = expected();
    for name in PARQUET_TEXTS {
        assert_eq!(all(&parquet(&format!("text-{name}"), "text")), texts, "{name}");
    }
    for name in ["lmsys", "reversed", "extra", "large_list", "item_layout"] {
        assert_eq!(all(&parquet(&format!("chat-{name}"), "conversation")), chats, "{name}");
    }
}

/// Layouts of lists that older writers made: a repeated group that is the entry itself, and a bag of entries.
#[test]
fn parquet_reads_old_layouts_of_lists() {
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    let layouts = [
        "message m { optional group talk (LIST) { repeated group array { required binary role (UTF8); required binary content (UTF8); } } }",
        "message m { optional group talk (LIST) { repeated group bag { optional group array_element { required binary role (UTF8); required binary content (UTF8); } } } }",
        "message m { optional group talk (LIST) { repeated group talk_tuple { required binary role (UTF8); required binary content (UTF8); } } }",
    ];
    let folder = tempfile::tempdir().unwrap();
    for (number, layout) in layouts.into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.parquet"));
        let schema = Arc::new(parse_message_type(layout).unwrap());
        let mut writer =
            SerializedFileWriter::new(fs::File::create(&path).unwrap(), schema, Default::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let most = if layout.contains("optional group array_element") { 3 } else { 2 };
        // Two chats: of two messages, and of one.
        for cells in [["user", "assistant", "user"], ["hi", "ho", "again"]] {
            let mut column = group.next_column().unwrap().unwrap();
            let values: Vec<ByteArray> = cells.into_iter().map(ByteArray::from).collect();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&[most; 3]), Some(&[0, 1, 0])).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
        let message = |role: &str, content: &str| Message { role: role.into(), content: content.into() };
        let want = [
            Document::Chat(vec![message("user", "hi"), message("assistant", "ho")]),
            Document::Chat(vec![message("user", "again")]),
        ];
        assert_eq!(all(&Corpus::Parquet { path, column: "talk".into() }), want, "{layout}");
    }
}

#[test]
fn parquet_says_what_is_wrong() {
    let missing = error(&parquet("chat-lmsys", "text"));
    assert!(
        missing.contains("no column `text`; there is `conversation_id`, `conversation`, `openai_moderation`"),
        "{missing}"
    );
    let null = error(&parquet("text-null", "text"));
    assert!(null.contains("row 1: column `text` is null, neither text nor a list of messages"), "{null}");
    let bytes = error(&parquet("text-bad_utf8", "text"));
    assert!(bytes.contains("row 1: not UTF-8: byte 0xff at byte 2 of column `text`"), "{bytes}");
    let number = error(&parquet("text-none", "score"));
    assert!(number.contains("row 0: column `score` is `0"), "{number}");
    let names = error(&parquet("chat-from_value", "conversation"));
    assert!(names.contains("entry 0 has no `role` but `from`, `value`; rename"), "{names}");
    let content = error(&parquet("chat-content_null", "conversation"));
    assert!(content.contains("row 1") && content.contains("entry 0 has null as its `content`"), "{content}");
    let structs = error(&parquet("chat-lmsys", "openai_moderation"));
    assert!(structs.contains("entry 0 has no `role` but `flagged`, `scores`"), "{structs}");

    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(fixture("text-snappy.parquet")).unwrap();
    let broken = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        error(&Corpus::Parquet { path, column: "text".into() })
    };
    let cut = broken("cut.parquet", &whole[..whole.len() / 2]);
    assert!(cut.contains("cut.parquet") && cut.contains("damaged or incomplete"), "{cut}");
    let mut spoiled = whole.clone();
    for byte in &mut spoiled[4..whole.len() * 2 / 5] {
        *byte ^= 0x5a;
    }
    assert!(broken("spoiled.parquet", &spoiled).contains("spoiled.parquet: "));
}

/// The same three documents in every format and compression.
fn written(folder: &Path) -> Vec<Corpus> {
    let documents = ["one", "two, \"quoted\"\nÖ", "three"];
    let objects: Vec<Value> =
        documents.iter().map(|text| json!({ "id": 7, "body": text, "z": [1, {"a": "]"}] })).collect();
    let jsonl: String = objects.iter().map(|object| format!("{object}\n")).collect();
    let list = serde_json::to_string_pretty(&objects).unwrap();
    let object = json!({ "version": "1", "tags": ["a", "]"], "data": objects, "end": null }).to_string();
    let split = json!({ "test": [{"body": "no"}], "train": objects }).to_string();
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["id", "body"]).unwrap();
    let mut tsv = csv::WriterBuilder::new().delimiter(b'\t').from_writer(Vec::new());
    tsv.write_record(["body", "id"]).unwrap();
    for text in documents {
        csv.write_record(["7", text]).unwrap();
        tsv.write_record([text, "7"]).unwrap();
    }
    let (csv, tsv) = (csv.into_inner().unwrap(), tsv.into_inner().unwrap());
    let column = || "body".to_string();
    let mut corpora = Vec::new();
    let files: [(&str, &[u8]); 6] = [
        ("a.jsonl", jsonl.as_bytes()),
        ("list.json", list.as_bytes()),
        ("object.json", object.as_bytes()),
        ("split.json", split.as_bytes()),
        ("a.csv", &csv),
        ("a.tsv", &tsv),
    ];
    for (name, bytes) in files {
        for compressed in ["", ".gz", ".zst"] {
            let path = folder.join(format!("{name}{compressed}"));
            let marked = [b"\xef\xbb\xbf".as_slice(), bytes].concat();
            match compressed {
                ".gz" => {
                    // Two members, as some tools append them.
                    let mut file = fs::File::create(&path).unwrap();
                    for half in [&bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..]] {
                        let mut encoder = flate2::write::GzEncoder::new(&mut file, flate2::Compression::fast());
                        encoder.write_all(half).unwrap();
                        encoder.finish().unwrap();
                    }
                }
                ".zst" => fs::write(&path, zstd::encode_all(bytes, 1).unwrap()).unwrap(),
                _ => fs::write(&path, marked).unwrap(),
            }
            corpora.push(match name {
                "a.jsonl" => Corpus::Jsonl { path, column: column() },
                "split.json" => Corpus::Json { path, column: column(), list: Some("train".into()) },
                "list.json" | "object.json" => Corpus::Json { path, column: column(), list: None },
                _ => Corpus::Csv { path, column: column() },
            });
        }
    }
    corpora
}

#[test]
fn every_format_and_compression_gives_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let want = texts(&["one", "two, \"quoted\"\nÖ", "three"]);
    for corpus in written(folder.path()) {
        assert_eq!(all(&corpus), want, "{corpus:?}");
        for start in 0..5 {
            let rest: Vec<Document> = corpus.documents_from(start).unwrap().collect::<Result<_>>().unwrap();
            assert_eq!(rest, want[want.len().min(start as usize)..], "{corpus:?} from {start}");
        }
    }
}

#[derive(Debug)]
struct Listed(Vec<String>, Vec<PathBuf>);

impl Shelf for Listed {
    fn names(&self) -> &[String] {
        &self.0
    }

    fn file(&self, index: usize) -> Result<PathBuf> {
        Ok(self.1[index].clone())
    }
}

#[test]
fn globs_folders_and_lists_are_read_file_after_file() {
    let (want, _) = expected();
    let folder = tempfile::tempdir().unwrap();
    for (part, name) in ["gzip", "zstd", "none"].into_iter().enumerate() {
        fs::copy(fixture(&format!("text-{name}.parquet")), folder.path().join(format!("train-{part}.parquet")))
            .unwrap();
    }
    fs::write(folder.path().join("notes.txt"), "not data").unwrap();
    let thrice = [want.clone(), want.clone(), want.clone()].concat();
    let at = |path: PathBuf| Corpus::Parquet { path, column: "text".into() };
    assert_eq!(all(&at(folder.path().join("train-*.parquet"))), thrice);
    assert_eq!(all(&at(folder.path().into())), thrice);
    for start in 0..=thrice.len() {
        let rest: Vec<Document> =
            at(folder.path().into()).documents_from(start as u64).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(rest, thrice[start..], "from {start}");
    }
    fs::write(folder.path().join("b.jsonl"), "{\"text\": \"line\"}\n").unwrap();
    let files: Vec<PathBuf> = ["b.jsonl", "train-1.parquet"].map(|name| folder.path().join(name)).to_vec();
    let names = files.iter().map(|file| file.display().to_string()).collect();
    let mixed = Corpus::Shelf { files: Arc::new(Listed(names, files)), column: "text".into() };
    assert_eq!(all(&mixed), [texts(&["line"]), want].concat());
    let unknown = Listed(vec!["model.bin".into()], vec![folder.path().join("model.bin")]);
    let unknown = error(&Corpus::Shelf { files: Arc::new(unknown), column: "text".into() });
    assert!(unknown.contains("model.bin: the name does not tell the format; known are .parquet"), "{unknown}");
}

#[test]
fn a_text_is_a_file_also_a_compressed_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b.txt"), "plain").unwrap();
    fs::write(folder.path().join("a.txt.zst"), zstd::encode_all("packed".as_bytes(), 1).unwrap()).unwrap();
    fs::write(folder.path().join("c.md"), "other").unwrap();
    assert_eq!(all(&Corpus::Text { path: folder.path().into() }), texts(&["packed", "plain"]));
    fs::write(folder.path().join("b.txt"), b"abc\xe9d").unwrap();
    let bytes = error(&Corpus::Text { path: folder.path().join("b.txt") });
    assert!(bytes.contains("b.txt: not UTF-8: byte 0xe9 at byte 3 of the file"), "{bytes}");
}

#[test]
fn mistakes_in_text_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let jsonl = |bytes: &[u8]| error(&Corpus::Jsonl { path: write("a.jsonl", bytes), column: "text".into() });
    let csv = |bytes: &[u8]| error(&Corpus::Csv { path: write("a.csv", bytes), column: "text".into() });
    let json = |bytes: &[u8], list: Option<&str>| {
        let list = list.map(str::to_string);
        error(&Corpus::Json { path: write("a.json", bytes), column: "text".into(), list })
    };
    let cases = [
        (jsonl(b"{\"text\":\"a\"}\n{\"text\":\"b\xff\"}\n"), "a.jsonl:2: not UTF-8: byte 0xff at byte 23 of the file"),
        (jsonl(b"[{\"text\":\"a\"},\n"), "a file with one list is read by `json(..)`"),
        (jsonl(b"{\"body\":1}\n"), "a.jsonl:1: no column `text`; there is `body`"),
        (jsonl(b"{\"text\":{\"role\":\"user\"}}\n"), "column `text` is an object with `role`, neither text nor"),
        (jsonl(b"{\"text\":[\"a\"]}\n"), "is no list of {role, content}: entry 0 is the text \"a\""),
        (
            jsonl(b"{\"text\":[{\"role\":\"user\",\"content\":[1]}]}\n"),
            "entry 0 has a list of 1 as its `content`, not text",
        ),
        (csv(b"id,body\n1,a\n"), "no column `text`; there is `id`, `body`"),
        (csv(b"id,text\n1,a\n2,b,c\n"), "line 3 has 3 cells, the header 2"),
        (csv(b"id,text\n1,a\n2,b\xff\n"), "line 3 (from byte 12): not UTF-8: byte 0xff at byte 1 of column `text`"),
        (json(b"{\"a\": [{}], \"b\": [{}]}", None), "several lists (a, b): say which with `list = \"a\"`"),
        (json(b"{\"a\": [{}], \"b\": 1}", Some("c")), "no list `c`; there is `a`, `b`"),
        (json(b"{\"a\": [{}], \"b\": 1}", Some("b")), "`b` is no list"),
        (json(b"{\"text\": \"x\", \"n\": [1]}", None), "an object without a list of objects; it has `text`, `n`"),
        (json(b"[{\"text\":\"a\"}, {\"text\":\"b\"", None), "ends in the middle of the value from byte 15"),
        (json(b"[{\"text\":\"a\"} {\"text\":\"b\"}]", None), "byte 14: `{` where a comma or ] is expected"),
        (json(b"[{\"text\":\"a\"}, {\"body\":\"b\"}]", None), "entry 2: no column `text`; there is `body`"),
        (json(b"[{\"text\":\"a\"}, 7]", None), "entry 2: not a JSON object but `7`"),
        (
            json(b"[{\"text\":\"a\"}, {\"text\":\"\xff\"}]", None),
            "entry 2: not UTF-8: byte 0xff at byte 24 of the file",
        ),
        (json(b"", None), "empty"),
        (json(b"\"text\"", None), "a single value"),
    ];
    for (error, want) in cases {
        assert!(error.contains(want), "{error}\nshould say: {want}");
    }
    let packed = zstd::encode_all("{\"text\":\"abc\"}\n".repeat(10_000).as_bytes(), 1).unwrap();
    let path = write("b.jsonl.zst", &packed[..packed.len() / 2]);
    let cut = error(&Corpus::Jsonl { path, column: "text".into() });
    assert!(cut.contains("b.jsonl.zst: damaged or incomplete"), "{cut}");
    let path = write("b.jsonl.gz", b"no gzip");
    assert!(error(&Corpus::Jsonl { path, column: "text".into() }).contains("damaged or incomplete"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn json_is_cut_where_serde_cuts(values in prop::collection::vec(("\\PC{0,12}", "[\\[\\]{}\\\\\",: a]{0,12}"), 0..8), pretty in any::<bool>()) {
        let objects: Vec<Value> = values.iter().map(|(text, odd)| json!({ odd.as_str(): [odd, {"x": odd}], "text": format!("{text}{odd}") })).collect();
        let bytes = if pretty { serde_json::to_string_pretty(&objects).unwrap() } else { serde_json::to_string(&objects).unwrap() };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        fs::write(&path, bytes).unwrap();
        let want: Vec<Document> = values.iter().map(|(text, odd)| Document::Text(format!("{text}{odd}"))).collect();
        prop_assert_eq!(all(&Corpus::Json { path, column: "text".into(), list: None }), want);
    }
}

const FOLDER: &str = "XD_TEST_CORPORA";

/// Peak of the resident memory of this process so far, in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Reads the files of the folder in a process of its own, whose memory nothing else fills.
#[test]
fn child_that_reads_large_files() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let column = || "text".to_string();
    let corpora: Vec<Corpus> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| match path.file_name().unwrap().to_str().unwrap().split('.').nth(1).unwrap() {
            "jsonl" => Corpus::Jsonl { path, column: column() },
            "json" => Corpus::Json { path, column: column(), list: None },
            "csv" => Corpus::Csv { path, column: column() },
            _ => Corpus::Parquet { path, column: column() },
        })
        .collect();
    for corpus in &corpora {
        let (mut count, mut bytes) = (0u64, 0usize);
        for document in corpus.documents().unwrap() {
            let Document::Text(text) = document.unwrap() else { panic!("a text") };
            count += 1;
            bytes += text.len();
        }
        assert!(count == 100_000 && bytes > 200_000_000, "{corpus:?}: {count} documents, {bytes} bytes");
    }
    assert!(corpora.len() == 4 && peak() < 120, "{} corpora, {} MiB", corpora.len(), peak());
}

#[cfg(target_os = "linux")]
#[test]
fn large_files_are_never_whole_in_memory() {
    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;

    let folder = tempfile::tempdir().unwrap();
    let text = |number: usize| format!("{number} {}", "the quick brown fox ".repeat(100));
    let at = |name: &str| fs::File::create(folder.path().join(name)).unwrap();
    let mut jsonl = zstd::Encoder::new(at("a.jsonl.zst"), 1).unwrap();
    let mut json = flate2::write::GzEncoder::new(at("a.json.gz"), flate2::Compression::fast());
    let mut csv = zstd::Encoder::new(at("a.csv.zst"), 1).unwrap();
    json.write_all(b"{\"data\": [").unwrap();
    csv.write_all(b"id,text\n").unwrap();
    for number in 0..100_000 {
        let object = json!({ "text": text(number) });
        writeln!(jsonl, "{object}").unwrap();
        write!(json, "{}{object}", if number > 0 { "," } else { "" }).unwrap();
        writeln!(csv, "{number},{}", text(number)).unwrap();
    }
    json.write_all(b"]}").unwrap();
    json.finish().unwrap();
    jsonl.finish().unwrap();
    csv.finish().unwrap();
    let schema = parquet::schema::parser::parse_message_type("message m { required binary text (UTF8); }").unwrap();
    let properties =
        WriterProperties::builder().set_compression(Compression::SNAPPY).set_dictionary_enabled(false).build();
    let mut writer = SerializedFileWriter::new(at("a.parquet"), Arc::new(schema), Arc::new(properties)).unwrap();
    // One row group of 200 MB: pages are read one at a time.
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    for start in (0..100_000).step_by(1000) {
        let values: Vec<ByteArray> =
            (start..start + 1000).map(|number| ByteArray::from(text(number).as_str())).collect();
        column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
    }
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["corpora::child_that_reads_large_files", "--exact", "--nocapture"]).env(FOLDER, folder.path());
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
