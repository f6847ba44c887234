-- What nginx does not know of S3: where requests go, the headers of their answers, pages of listings.

local M = {}

local NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
-- Of an upload in parts, by its form: no client takes it for a digest of the bytes.
local ETAG = '"9b2cf535f27731c974343645a3985328-1"'
local DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

-- Of objects, by their paths.
local checksums, etags = {}, {}
-- In the order of S3, by bytes; entries are the XML of each, with the key as it is and URL-encoded.
local keys, entries, encoded = {}, {}, {}

local function escape(key)
    return (key:gsub("[^%w%-_.~*/ ]", function(c) return ("%%%02X"):format(c:byte()) end):gsub(" ", "+"))
end

-- At the start, for all workers: "objects.list" has lines of a path, a CRC64NVME and an MD5; "keys" the keys that are
-- listed, sorted.
function M.load(prefix)
    for line in io.lines(prefix .. "/objects.list") do
        local path, checksum, md5 = line:match("^(%S+) (%S+) (%S+)$")
        checksums[path], etags[path] = checksum, '"' .. md5 .. '"'
    end
    local entry = "<Contents><Key>%s</Key><LastModified>2026-11-01T09:30:00.000Z</LastModified>"
        .. "<ETag>&quot;%s&quot;</ETag><Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>"
    for key in io.lines(prefix .. "/keys") do
        local etag = ngx.md5(key)
        keys[#keys + 1] = key
        entries[#keys] = entry:format(key, etag, 1024)
        encoded[#keys] = entry:format(escape(key), etag, 1024)
    end
end

function M.route()
    local method, arguments = ngx.req.get_method(), ngx.var.args
    if method == "GET" then
        if arguments and arguments:find("list-type=2", 1, true) then
            return ngx.exec("/list", arguments)
        end
        -- nginx would compare with an ETag of its own.
        local wanted = ngx.var.http_if_match
        if wanted then
            if wanted ~= etags[ngx.var.uri] then
                return ngx.exit(412)
            end
            ngx.req.clear_header("If-Match")
        end
    elseif method == "PUT" then
        local part = arguments and arguments:match("partNumber=(%d+)")
        if part then
            return ngx.req.set_uri(("/stored%s/%05d"):format(ngx.var.uri, part), true)
        end
        return ngx.req.set_uri("/stored" .. ngx.var.uri, true)
    elseif method == "POST" then
        if arguments and arguments:find("uploadId=", 1, true) then
            return ngx.exec("/complete")
        end
        return ngx.exec("/begin")
    elseif method == "DELETE" then
        return ngx.exit(ngx.HTTP_NO_CONTENT)
    end
end

-- As S3: an ETag that is the MD5, for one with a dash tells of parts; the checksum when it is asked for, of whole objects
-- and not of ranges, whose status is still 200 here.
function M.found()
    if ngx.status ~= 200 then
        return
    end
    local path = ngx.var.uri
    ngx.header["ETag"] = etags[path]
    if ngx.var.http_x_amz_checksum_mode == "ENABLED" and not ngx.var.http_range then
        ngx.header["x-amz-checksum-crc64nvme"] = checksums[path]
        ngx.header["x-amz-checksum-type"] = "FULL_OBJECT"
    end
end

-- dav answers 201 or 204, and S3 200.
function M.stored()
    if ngx.status == 201 or ngx.status == 204 then
        ngx.status = 200
        ngx.header["Content-Length"] = 0
        ngx.header["Location"] = nil
        ngx.header["ETag"] = ETAG
    end
end

local function answer(xml)
    ngx.header["Content-Type"] = "application/xml"
    ngx.header["Content-Length"] = #xml
    ngx.print(xml)
end

function M.begin()
    ngx.req.discard_body()
    local bucket, key = ngx.unescape_uri(ngx.var.request_uri):match("^/([^/?]+)/([^?]+)")
    local xml = "<InitiateMultipartUploadResult %s><Bucket>%s</Bucket><Key>%s</Key><UploadId>upload</UploadId>"
        .. "</InitiateMultipartUploadResult>"
    answer(DECLARATION .. xml:format(NAMESPACE, bucket, key))
end

function M.complete()
    ngx.req.discard_body()
    local bucket, key = ngx.unescape_uri(ngx.var.request_uri):match("^/([^/?]+)/([^?]+)")
    local xml = "<CompleteMultipartUploadResult %s><Location>http://localhost/%s/%s</Location><Bucket>%s</Bucket>"
        .. "<Key>%s</Key><ETag>&quot;%s&quot;</ETag></CompleteMultipartUploadResult>"
    answer(DECLARATION .. xml:format(NAMESPACE, bucket, key, bucket, key, ETAG:sub(2, -2)))
end

-- How many keys are before or at this one.
local function after(key)
    local low, high = 0, #keys
    while low < high do
        local middle = math.floor((low + high) / 2) + 1
        if keys[middle] <= key then low = middle else high = middle - 1 end
    end
    return low
end

function M.list()
    local arguments = ngx.req.get_uri_args()
    local prefix, url = arguments.prefix or "", arguments["encoding-type"] == "url"
    if prefix == true then prefix = "" end
    local from = 0
    if arguments["continuation-token"] then
        from = tonumber(arguments["continuation-token"])
    elseif arguments["start-after"] and arguments["start-after"] ~= true then
        from = after(arguments["start-after"])
    end
    local to = math.min(from + math.min(tonumber(arguments["max-keys"]) or 1000, 1000), #keys)
    -- All keys have one prefix, "list/".
    if not ("list/"):find(prefix, 1, true) then from, to = 0, 0 end
    local truncated = to > 0 and to < #keys
    answer(table.concat({
        DECLARATION, "<ListBucketResult ", NAMESPACE, "><Name>bench</Name><Prefix>", prefix, "</Prefix>",
        "<KeyCount>", to - from, "</KeyCount><MaxKeys>1000</MaxKeys>", url and "<EncodingType>url</EncodingType>" or "",
        "<IsTruncated>", tostring(truncated), "</IsTruncated>",
        truncated and ("<NextContinuationToken>" .. to .. "</NextContinuationToken>") or "",
        table.concat(url and encoded or entries, "", from + 1, to),
        "</ListBucketResult>",
    }))
end

return M
