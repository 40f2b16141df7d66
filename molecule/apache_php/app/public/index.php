<?php
// Copyright (c) 2026, Seamless Rollout Contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

require __DIR__ . '/../version.php';

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($_SERVER['REQUEST_METHOD'] === 'PUT' && preg_match('#^/uploads/([a-z0-9]+\.txt)$#', $path, $match)) {
    http_response_code(file_put_contents(__DIR__ . "/uploads/$match[1]", fopen('php://input', 'r')) === false ? 500 : 201);
    exit;
}
header('Content-Type: application/json');
echo json_encode(['version' => VERSION, 'host' => gethostname(), 'path' => $path]);
