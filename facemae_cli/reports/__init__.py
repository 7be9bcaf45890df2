"""What a person looks at: self-contained HTML pages, plots, pictures of faces, and figures in words."""
