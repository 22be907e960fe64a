use super::*;

#[test]
fn what_was_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("object");
    assert_eq!(read(&path).unwrap(), None);
    for (version, payload) in [(1, &b"first"[..]), (2, b""), (7, &[0xff; 5000])] {
        for durability in [Durability::Cache, Durability::Disk] {
            write(&path, version, payload, durability).unwrap();
            assert_eq!(
                read(&path).unwrap(),
                Some(Stored {
                    version,
                    payload: payload.to_vec()
                })
            );
        }
    }
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no temporary file stays"
    );
}

#[test]
fn every_flipped_byte_and_every_truncation_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("object");
    write(&path, 1, b"{\"restarts\":3}", Durability::Cache).unwrap();
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        if (8..12).contains(&at) {
            continue; // the version: any number is a version, its reader refuses those it does not know
        }
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        assert!(
            matches!(read(&path), Err(ReadError::Corrupt { .. })),
            "byte {at}"
        );
        fs::write(&path, &good[..at]).unwrap();
        assert!(
            matches!(read(&path), Err(ReadError::Corrupt { .. })),
            "cut at {at}"
        );
    }
}

#[test]
fn a_corrupt_file_is_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("object");
    fs::write(&path, b"garbage").unwrap();
    assert!(read(&path).is_err());
    let aside = quarantine(&path).unwrap();
    assert_eq!(fs::read(aside).unwrap(), b"garbage");
    assert_eq!(read(&path).unwrap(), None);
}

#[test]
fn of_many_objects_each_is_written_or_told() {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..200)
        .map(|number| match number {
            77 => dir.path().join("missing/object"),
            _ => dir.path().join(format!("object-{number}")),
        })
        .collect();
    write(&paths[3], 1, b"old", Durability::Cache).unwrap();
    let payloads: Vec<_> = (0..paths.len()).map(|n| n.to_string()).collect();
    let objects: Vec<_> = paths
        .iter()
        .zip(&payloads)
        .map(|(path, payload)| Object {
            path,
            version: 2,
            payload: payload.as_bytes(),
        })
        .collect();
    let results = write_durably(&objects);
    assert_eq!(results.len(), objects.len());
    for (number, result) in results.iter().enumerate() {
        assert_eq!(result.is_ok(), number != 77, "{result:?}");
        let stored = read(&paths[number]).unwrap();
        let found = stored.map(|stored| (stored.version, stored.payload));
        let expected = (number != 77).then(|| (2, payloads[number].clone().into_bytes()));
        assert_eq!(found, expected);
    }
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 199, "nothing temporary is left");
}
