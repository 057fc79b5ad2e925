// Answers every request alike, and writes each down as it was understood: PORT LOG ANSWER.
package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
)

func main() {
	port, log, answer := os.Args[1], os.Args[2], os.Args[3]
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	var one sync.Mutex
	handler := func(writer http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		line, _ := json.Marshal(map[string]string{
			"method": request.Method,
			"target": request.RequestURI,
			"length": request.Header.Get("Content-Length"),
			"coding": strings.Join(request.TransferEncoding, ","),
			"body":   string(body),
		})
		one.Lock()
		file.Write(append(line, '\n'))
		one.Unlock()
		writer.Header().Set("Content-Type", "application/json")
		io.WriteString(writer, answer)
	}
	panic(http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(handler)))
}
